"""What is compiled for Vertex AI, against a golden file and field by field.

`python tests/pipeline/test_vertex_runner.py` writes the golden file anew, to be read as a diff before it is committed.
"""

import json
from pathlib import Path

import pytest
import yaml

from components.errors import UsageError
from pipeline import dag, fingerprint
from pipeline.config import Config, load_config
from pipeline.vertex_record import HANDLER
from pipeline.vertex_runner import compile_job, compile_to, tasks_of

GOLDEN = Path(__file__).with_name("vertex_job.json")
OWN = {
    "data": {"golden_span": 9},
    "vertex": {
        "project": "pets-prod",
        "region": "europe-west4",
        "root": "gs://pets-bucket/segpipe",
        "image": "europe-west4-docker.pkg.dev/pets-prod/segpipe/segpipe:1",
        "service_account": "runner@pets-prod.iam.gserviceaccount.com",
        "labels": {"team": "vision"},
        "resources": {
            "Trainer": {"cpus": 8, "memory_gb": 30, "accelerator": "NVIDIA_TESLA_T4"},
            "SpanExampleGen": {"cpus": 2},
        },
        "registry": {"model": "pets", "deploy": {"endpoint": "pets-live", "machine_type": "n1-standard-4"}},
    },
    "beam": {
        "nodes": {
            "Transform": {
                "runner": "DataflowRunner",
                "machine_type": "n1-standard-4",
                "arguments": ["--worker_disk_type=pd-ssd"],
            }
        }
    },
}


def golden_text(job: dict) -> str:
    # TFX's version is that of the line which is installed.
    job["pipelineSpec"]["sdkVersion"] = "tfx"
    # TFX 1.16 writes a private field of its options that 1.21 has no more.
    return json.dumps(job, indent=1, sort_keys=True).replace(r"\"_slice_sqls\": null, ", "") + "\n"


@pytest.fixture(scope="module")
def job():
    with pytest.MonkeyPatch.context() as patch:
        for module in (dag, fingerprint):
            patch.setattr(module, "fingerprint", lambda module: f"fingerprint of {module}")
        yield compile_job(Config.model_validate(OWN))


def executor(job: dict, node: str) -> dict:
    return job["pipelineSpec"]["deploymentSpec"]["executors"][f"{node}_executor"]["container"]


def test_the_job_is_that_of_the_golden_file(job):
    assert golden_text(json.loads(json.dumps(job))) == GOLDEN.read_text()


def test_what_a_run_reads_is_a_parameter(job):
    parameters = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"window", "comparisons", "golden", "schema"}
    tasks = tasks_of(job)
    for task in ("SpanExampleGen", "Conservation"):
        assert tasks[task]["inputs"]["parameters"]["window"] == {"componentInputParameter": "window"}


def test_the_exit_handler_makes_the_report_when_all_tasks_have_ended(job):
    spec = job["pipelineSpec"]
    group, report = (spec["root"]["dag"]["tasks"][name] for name in ("tfx-dag", HANDLER))
    assert report["dependentTasks"] == ["tfx-dag"] and not report.get("cachingOptions")
    assert report["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert report["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": "tfx-dag"}}
    handed = {name: {"componentInputParameter": name} for name in ("window", "comparisons", "golden", "schema")}
    assert group["inputs"]["parameters"] == handed


def test_a_node_gets_what_it_was_given(job):
    assert executor(job, "Trainer")["resources"] == {
        "cpuLimit": 8.0,
        "memoryLimit": 30.0,
        "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "1"},
    }
    assert executor(job, "SpanExampleGen")["resources"] == {"cpuLimit": 2.0}
    assert "resources" not in executor(job, "StatisticsGen")
    assert job["labels"] == {"team": "vision"}


def test_dataflow_is_for_the_nodes_that_are_named(job):
    arguments = executor(job, "Transform")["args"]
    assert [a for a in arguments if a.startswith("--runner=")] == ["--runner=DataflowRunner"]
    for argument in (
        "--project=pets-prod",
        "--region=europe-west4",
        "--temp_location=gs://pets-bucket/segpipe/dataflow",
        "--service_account_email=runner@pets-prod.iam.gserviceaccount.com",
        "--machine_type=n1-standard-4",
        "--worker_disk_type=pd-ssd",
    ):
        assert argument in arguments
    assert [a for a in executor(job, "StatisticsGen")["args"] if a.startswith("--runner=")] == ["--runner=DirectRunner"]


@pytest.mark.parametrize(
    "sections, told",
    [
        ({"training": {"warm_start": True}}, "training.warm_start: Vertex AI finds no model to start from"),
        (
            {"vertex": {"resources": {"Trainr": {}}}},
            "vertex.resources: 'Trainr' is no node of this pipeline; it has",
        ),
        ({"vertex": {"resources": {"LatestBlessedModel": {}}}}, "'LatestBlessedModel' runs in no container"),
        (
            {"beam": {"nodes": {"Transform": {"arguments": ["--s3_secret_access_key=${KEY}"]}}}},
            "beam: --s3_secret_access_key=.{KEY} names an environment variable, which no container has; drop it",
        ),
    ],
)
def test_what_vertex_cannot_run_is_refused(sections, told):
    with pytest.raises(UsageError, match=told):
        compile_job(Config.model_validate(sections))


@pytest.mark.parametrize(
    "section, told",
    [
        ({"root": "s3://bucket/x"}, "vertex.root: "),
        ({"region": "europe"}, "vertex.region: "),
        ({"labels": {"Team": "x"}}, "vertex.labels: 'Team': 'x' is no label"),
        ({"machine": "n1"}, "vertex.machine is no key of this section; it has project, region"),
    ],
)
def test_a_wrong_section_is_told(tmp_path, section, told):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"vertex": section}))
    with pytest.raises(UsageError, match=told):
        load_config(str(path))


def test_placeholders_are_named(tmp_path):
    told = compile_to(Config(), str(tmp_path / "job.json"))
    assert told.endswith("vertex.project, vertex.root, vertex.image are placeholders until the config says")
    assert json.loads((tmp_path / "job.json").read_text())["runtimeConfig"] == {
        "gcsOutputDirectory": "gs://your-bucket/segpipe/pipeline_root"
    }


if __name__ == "__main__":
    dag.fingerprint = fingerprint.fingerprint = lambda module: f"fingerprint of {module}"
    GOLDEN.write_text(golden_text(compile_job(Config.model_validate(OWN))))
