"""The job that is compiled for Vertex AI, executed here from ingest's spans to a pushed model, twice, then to none.

The second run trains in a custom job, and deploys its model to an endpoint; both are asked of tests/vertex_service.py.
"""

import json
import subprocess
from dataclasses import dataclass

import pytest
from google.protobuf import json_format
from vertex_interpreter import Service
from vertex_service import VertexService, settings_of, vertex_service
from workbench import BIN, Bench, drawn, with_unknown_breed

from components.pusher.versions import origin

pytestmark = pytest.mark.e2e

ROOT = "gs://pets-bucket/segpipe"
TRAINED_ELSEWHERE = {
    "training": {"machine_type": "n1-standard-8"},
    "registry": {"model": "pets", "deploy": {"endpoint": "pets-live", "machine_type": "n1-standard-4"}},
}


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
def cloud(service):
    """What containers ask of Vertex AI; a custom job is executed as one more container."""
    with vertex_service(service.buckets) as cloud:
        cloud.train = lambda job: service.train(json_format.MessageToDict(type(job).pb(job)))
        yield cloud


def vertex(cloud: VertexService, **sections: dict) -> dict:
    return settings_of(cloud, **sections).model_dump(exclude_none=True)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, cloud):
    return Bench(tmp_path_factory.mktemp("vertex"), {"vertex": vertex(cloud)})


@pytest.fixture(scope="module")
def job(bench, service):
    """Hands over what a run reads, and runs what was compiled last on the newest spans, as the job of a name."""
    from pipeline.config import load_config
    from pipeline.newest import point, pointers
    from pipeline.remote import upload_inputs
    from pipeline.workspace import Workspace

    def run(name: str, spans: int = 1, scheduled: bool = False, **instead: str) -> Ran:
        config = load_config(str(bench.config))
        workspace = Workspace.at(str(bench.workspace))
        paths = upload_inputs(config, workspace, str(service.path(ROOT)), window=spans)
        parameters = {key: f"{ROOT}/{path}" for key, path in paths.items()}
        if scheduled:
            point(str(service.path(ROOT)), paths)
            parameters = pointers(ROOT, list(paths))
        artifacts = service.run(json.loads((bench.folder / "job.json").read_text()), name, parameters | instead)
        return Ran(artifacts, sorted(path.name for path in service.path(f"{ROOT}/serving_model").iterdir()))

    return run


def compile_job(bench) -> None:
    command = [str(BIN / "segpipe"), "compile", "--engine", "vertex", "--output", str(bench.folder / "job.json")]
    done = subprocess.run([*command, "--config", bench.config], check=True, capture_output=True, text=True)
    assert "placeholder" not in done.stdout


@pytest.fixture(scope="module")
def runs(bench, job, service, cloud, warm):
    """A run on one span, and one as of a schedule, on a window of two, whose training is another and elsewhere."""
    service.warm = warm
    bench.ingest(drawn(bench.folder / "drawn-1"))
    compile_job(bench)
    first = job("first")
    bench.ingest(drawn(bench.folder / "drawn-2", seed=18))
    bench.sections["training"] = {"steps": 6, "batch_size": 8, "evaluations": 1}
    bench.sections["vertex"] = vertex(cloud, **TRAINED_ELSEWHERE)
    compile_job(bench)
    return first, job("second", spans=2, scheduled=True)


def figures(service, name: str) -> dict:
    """What the exit handler told of a job, beside its page."""
    folder = service.path(f"{ROOT}/reports/{name}")
    assert (folder / "report.html").is_file()
    return json.loads((folder / "report.json").read_text())


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


def test_the_model_that_was_pushed_is_that_of_the_custom_job(runs, service, cloud):
    """The Trainer's container does nothing but start the job and wait for it."""
    _, second = runs
    (training,) = cloud.trainings.values()
    (pool,) = training.job_spec.worker_pool_specs
    assert (pool.machine_spec.machine_type, training.state.name) == ("n1-standard-8", "JOB_STATE_SUCCEEDED")
    started = [task for task, _ in service.started[12:]]
    assert started[started.index("Trainer") + 1] == "custom job"
    assert f"training in {training.name}\n" in service.said["Trainer"]
    (trained,) = second.done["Trainer"]["model"]
    assert origin(str(service.path(f"{ROOT}/serving_model")), int(second.versions[-1])) == str(
        service.path(trained["uri"])
    )


def test_the_pushed_model_is_registered_and_its_endpoint_serves_it_alone(runs, cloud):
    _, second = runs
    version = second.versions[-1]
    (registered,) = cloud.models["projects/pets-prod/locations/europe-west4/models/pets"]
    assert registered.artifact_uri == f"{ROOT}/serving_model/{version}"
    (endpoint,) = cloud.endpoints.held.values()
    assert dict(endpoint.traffic_split) == {version: 100}
    assert second.metadata("VertexEndpoint", "deployed_model")["endpoint"] == endpoint.name


def test_no_container_was_handed_a_path_of_this_machine(runs, service):
    # The second has two nodes more, and the custom job.
    assert len(service.started) == 27
    assert not [task for task, arguments in service.started if any(str(service.buckets) in a for a in arguments)]


def test_every_job_has_a_report_that_tells_what_the_containers_noted(runs, service):
    first, second = (figures(service, name) for name in ("first", "second"))
    assert [(told["verdict"], str(told["version"])) for told in (first, second)] == [
        ("pushed", run.versions[-1]) for run in runs
    ]
    assert (first["spans"], second["spans"]) == ([1], [1, 2])
    assert [one["run_id"] for one in second["history"]] == ["first", "second"]
    assert (second["baseline_model"]["run_id"], second["baseline_model"]["version"]) == ("first", first["version"])
    summary = json.loads(runs[1].metadata("SegmentationEvaluator", "evaluation")["summary"])
    assert second["metrics"] == summary["metrics"] and second["evaluation"]["ranking"]
    assert second["training"]["curve"][-1]["step"] == 6
    assert (second["setup"]["engine"], second["setup"]["config"]["training"]["steps"]) == ("vertex", 6)
    assert second["setup"]["config"]["vertex"]["root"] == ROOT
    assert second["data"]["statistics"]["train"]["examples"] == second["data"]["counts"]["train"]["Transform"]
    assert second["data"]["anomalies"] == [] and second["canary"]["latency_ms"] > 0


def test_a_job_that_a_gate_refuses_ends_with_status_3_and_has_a_report_that_says_why(runs, bench, job, service):
    bench.ingest(with_unknown_breed(drawn(bench.folder / "drawn-3", seed=19)))
    with pytest.raises(AssertionError, match="AnomalyGate: exit 3"):
        job("third")
    assert "segpipe: " in service.said["AnomalyGate"] and "report /" in service.said["RunReport"]
    told = figures(service, "third")
    assert (told["verdict"], told["version"], told["nodes"]["AnomalyGate"]["state"]) == ("refused", None, "failed")
    assert "Unicorn" in "; ".join(told["reasons"])
    assert len(list(service.path(f"{ROOT}/serving_model").iterdir())) == 2


def test_a_job_in_which_a_node_raised_has_a_report_that_says_what(runs, job, service):
    """The containers of this job are started by their commands, as they are."""
    service.warm = None
    with pytest.raises(AssertionError, match="SpanExampleGen: exit 1"):
        job("fourth", window=f"{ROOT}/data/windows/none.json")
    told = figures(service, "fourth")
    assert (told["verdict"], told["version"], told["nodes"]["SpanExampleGen"]["state"]) == ("failed", None, "failed")
    (reason,) = told["reasons"]
    assert reason.startswith("SpanExampleGen failed: ") and "none.json" in reason
    assert told["setup"]["error"].startswith("a task failed: SpanExampleGen: exit 1")
    assert [one["run_id"] for one in told["history"]][:2] == ["first", "second"]


def test_a_field_that_is_not_implemented_is_an_error(service):
    with pytest.raises(NotImplementedError, match="retryPolicy"):
        task = {"componentRef": {"name": "x"}, "retryPolicy": {}}
        exit_task = {"triggerPolicy": {}}
        outer = {"x": task, "exit": exit_task}
        spec = {"root": {"dag": {"tasks": outer}, "inputDefinitions": {"parameters": {}}}, "deploymentSpec": {}}
        service.run({"pipelineSpec": spec, "runtimeConfig": {"gcsOutputDirectory": ROOT}}, "strange", {})
