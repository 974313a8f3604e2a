"""The job that is compiled for Vertex AI, executed here from ingest's spans to a pushed model, twice."""

import json
import subprocess
from dataclasses import dataclass

import pytest
from vertex_interpreter import Service
from workbench import BIN, Bench, drawn

pytestmark = pytest.mark.e2e

ROOT = "gs://pets-bucket/segpipe"
VERTEX = {"project": "pets-prod", "root": ROOT, "image": "registry/segpipe:1"}


@dataclass
class Ran:
    """What a job left: artifacts by task and key, and the versions in the serving folder."""

    done: dict
    versions: list[str]

    def metadata(self, task: str, key: str) -> dict:
        return self.done[task][key][0]["metadata"]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return Service(tmp_path_factory.mktemp("buckets"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, service):
    """A run on one span, and one as of a schedule, on a window of two, whose training is another."""
    from pipeline.config import load_config
    from pipeline.newest import point, pointers
    from pipeline.remote import upload_inputs
    from pipeline.workspace import Workspace

    bench = Bench(tmp_path_factory.mktemp("vertex"), {"vertex": VERTEX})
    bench.ingest(drawn(bench.folder / "drawn-1"))

    def run(name: str, window: int, scheduled: bool = False) -> Ran:
        compiled = bench.folder / f"{name}.json"
        command = [str(BIN / "segpipe"), "compile", "--engine", "vertex", "--output", str(compiled)]
        done = subprocess.run([*command, "--config", bench.config], check=True, capture_output=True, text=True)
        assert "placeholder" not in done.stdout
        config = load_config(str(bench.config))
        workspace = Workspace.at(str(bench.workspace))
        paths = upload_inputs(config, workspace, str(service.path(ROOT)), window=window)
        parameters = {key: f"{ROOT}/{path}" for key, path in paths.items()}
        if scheduled:
            point(str(service.path(ROOT)), paths)
            parameters = pointers(ROOT, list(paths))
        artifacts = service.run(json.loads(compiled.read_text()), name, parameters)
        return Ran(artifacts, sorted(path.name for path in service.path(f"{ROOT}/serving_model").iterdir()))

    first = run("first", 1)
    bench.ingest(drawn(bench.folder / "drawn-2", seed=18))
    bench.sections["training"] = {"steps": 6, "batch_size": 8, "evaluations": 1}
    return first, run("second", 2, scheduled=True)


def test_the_first_run_pushes_a_model_that_compares_with_none(runs, service):
    first, _ = runs
    assert len(first.versions) == 1
    assert first.done["LatestBlessedModel-model-resolver"]["model"] == []
    assert json.loads(first.metadata("SegmentationEvaluator", "evaluation")["summary"])["baseline"] is None
    assert first.metadata("AtomicPusher", "pushed_model")["pushed"] == 1
    model = service.path(f"{ROOT}/serving_model") / first.versions[0]
    assert json.loads((model / "assets.extra/segpipe.json").read_text())["run_id"] == "first"


def test_the_second_run_compares_with_the_blessed_model_of_the_first(runs):
    first, second = runs
    (baseline,) = second.done["LatestBlessedModel-model-resolver"]["model"]
    assert baseline["name"] == first.done["Trainer"]["model"][0]["name"]
    summary = json.loads(second.metadata("SegmentationEvaluator", "evaluation")["summary"])
    assert summary["lost_baseline"] is None
    assert summary["baseline"]["photos"] == summary["metrics"]["photos"]
    assert summary["baseline"]["mean_iou"] != summary["metrics"]["mean_iou"]
    assert len(second.versions) == 2


def test_a_window_trains_on_both_spans_and_evaluates_the_newest(runs):
    first, second = runs
    counts = [json.loads(run.metadata("Conservation", "blessing")["counts"]) for run in runs]
    assert counts[1]["train"]["Transform"] > counts[0]["train"]["Transform"]
    assert counts[1]["eval"]["SegmentationEvaluator"] == counts[0]["eval"]["SegmentationEvaluator"]
    assert [run.metadata("SpanExampleGen", "examples")["custom:span"] for run in (first, second)] == [1, 2]


def test_no_container_was_handed_a_path_of_this_machine(runs, service):
    assert len(service.started) == 22
    assert not [task for task, arguments in service.started if any(str(service.buckets) in a for a in arguments)]


def test_a_field_that_is_not_implemented_is_an_error(service):
    with pytest.raises(NotImplementedError, match="retryPolicy"):
        task = {"componentRef": {"name": "x"}, "retryPolicy": {}}
        spec = {"root": {"dag": {"tasks": {"x": task}}, "inputDefinitions": {"parameters": {}}}, "deploymentSpec": {}}
        service.run({"pipelineSpec": spec, "runtimeConfig": {"gcsOutputDirectory": ROOT}}, "strange", {})
