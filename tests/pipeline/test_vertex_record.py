"""What containers on Vertex AI note, and the run that is read from it: also when one raised, died, or never started."""

import json
from pathlib import Path

import pytest

from components.errors import RefusedError
from pipeline.vertex_record import BUCKETS, read_jobs, recorded

JOBS = "gs://bucket/segpipe/pipeline_root/123"


@pytest.fixture
def buckets(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(BUCKETS, str(tmp_path))
    return tmp_path


def folder(job: str, task: str) -> str:
    return f"{JOBS}/{job}/{task}_-77"


def container(buckets, job: str, task: str, outputs: dict, parameters=None, error=None, **inputs: dict) -> None:
    """A container with its record, and the output that TFX writes.

    Args:
      buckets: their folder.
      job, task: of the container.
      outputs: key -> metadata.
      parameters: what it was told.
      error: what it raises.
      inputs: key -> artifact.
    """
    listed = {key: {"artifacts": [artifact]} for key, artifact in inputs.items()}
    place = folder(job, task)
    invocation = {
        "inputs": {"artifacts": listed, "parameterValues": parameters or {}},
        "outputs": {"outputFile": f"{place}/executor_output.json"},
    }
    with recorded(invocation):
        if error is not None:
            raise error
        made = {key: {"artifacts": [artifact(job, task, key, metadata)]} for key, metadata in outputs.items()}
        path = buckets / place.removeprefix("gs://") / "executor_output.json"
        path.write_text(json.dumps({"artifacts": made}))


def artifact(job: str, task: str, key: str, metadata: dict | None = None) -> dict:
    return {"uri": f"{folder(job, task)}/{key}", "metadata": metadata or {}}


def jobs(buckets) -> list:
    return read_jobs(str(buckets / JOBS.removeprefix("gs://")))


def test_what_a_container_made_and_read_is_found_on_the_mount_with_its_numbers(buckets):
    model = artifact("one", "Trainer", "model")
    container(buckets, "one", "Trainer", {"model": {}})
    container(buckets, "one", "ModelCanary", {"blessing": {"latency_ms": 2.5, "memory_mb": 40.0}}, model=model)
    pushed = {"pushed": 1.0, "pushed_version": "17", "new_version": 1.0}
    container(buckets, "one", "AtomicPusher", {"pushed_model": pushed}, model=model)
    (run,) = jobs(buckets)
    assert (run.run_id, run.verdict, run.version) == ("one", "pushed", 17)
    assert {node.state for node in run.nodes.values()} == {"complete"}
    assert run.output("Trainer", "model").uri == str(buckets / model["uri"].removeprefix("gs://"))
    assert run.nodes["ModelCanary"].inputs["model"][0].uri == run.output("Trainer", "model").uri
    noted = run.output("ModelCanary", "blessing").custom_properties
    assert (noted["latency_ms"].double_value, noted["memory_mb"].int_value) == (2.5, 40)


def test_our_own_property_counts_where_tfx_has_one_of_that_name(buckets):
    container(buckets, "one", "GoldenExamples", {"examples": {"custom:span": 9.0, "span": 0.0}})
    (run,) = jobs(buckets)
    assert run.output("GoldenExamples", "examples").custom_properties["span"].int_value == 9


def test_a_gate_that_refused_a_node_that_raised_and_one_that_was_killed_are_told_apart(buckets):
    for job, error in (("refused", RefusedError("too dark")), ("raised", RuntimeError("boom\nmore"))):
        with pytest.raises(type(error)):
            container(buckets, job, "AnomalyGate", {}, error=error)
    container(buckets, "killed", "AnomalyGate", {"blessing": {}})
    record = buckets / folder("killed", "AnomalyGate").removeprefix("gs://") / "segpipe.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"ended": None}))
    found = {run.run_id: run for run in jobs(buckets)}
    assert (found["refused"].verdict, found["refused"].reasons) == ("refused", ["too dark"])
    assert (found["raised"].verdict, found["raised"].reasons) == ("failed", ["AnomalyGate failed: RuntimeError: boom"])
    assert (found["killed"].verdict, found["killed"].nodes["AnomalyGate"].state) == ("running", "running")


def test_what_came_from_the_cache_is_known_by_who_read_it_and_a_baseline_is_no_such_thing(buckets):
    window = {"window": "gs://bucket/segpipe/data/windows/1/window.json"}
    container(
        buckets,
        "two",
        "Conservation",
        {"blessing": {}},
        parameters=window,
        examples=artifact("one", "SpanExampleGen", "examples"),
    )
    container(
        buckets,
        "two",
        "SegmentationEvaluator",
        {"evaluation": {}},
        model=artifact("one", "Trainer", "model"),
        baseline_model=artifact("zero", "OldTrainer", "model"),
    )
    (run,) = jobs(buckets)
    states = {name: node.state for name, node in run.nodes.items()}
    assert states == {
        "SpanExampleGen": "cached",
        "Trainer": "cached",
        "Conservation": "complete",
        "SegmentationEvaluator": "complete",
    }
    assert run.output("Trainer", "model").uri.endswith("/one/Trainer_-77/model")
    assert run.window == str(buckets / "bucket/segpipe/data/windows/1/window.json")
    assert run.nodes["SpanExampleGen"].parameters["window"].string_value == run.window


def test_a_job_all_of_whose_tasks_came_from_the_cache_left_nothing(buckets):
    container(buckets, "three", "RunReport", {})
    assert jobs(buckets) == []
