"""What each container on Vertex AI leaves in the folder of its task, and the runs as records that follow from it.

    <root>/pipeline_root/<project number>/<job>/<task>_<number>/segpipe.json

The service keeps ML Metadata to itself, and hands an exit handler no artifact. So each container notes what it was told
and how it ended; what it made stands in `executor_output.json`, where TFX puts it for the service. A task that the
service takes from its cache starts no container: what it made is known by who reads it, as an address names the task.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from components.errors import RefusedError, in_one_line
from components.ingest.spans import Record, read_record, write_record
from pipeline.records import spans_of
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.verdict import ERROR, judge, raised

BUCKETS = "SEGPIPE_BUCKETS"
"""Environment variable that names another folder of buckets than the one where Vertex AI mounts them."""
RECORD = "segpipe.json"
HANDLER = "RunReport"
"""The exit handler, whose container is no part of the run that it tells of."""

_SCHEME = "gs://"
_OUTPUT = "executor_output.json"
_PREFIX = "custom:"
# Models of earlier jobs, which an Evaluator reads without that any task of its own job stands for them.
_OF_EARLIER_JOBS = ("baseline_model",)


class TaskRecord(Record):
    """One container.

    Attributes:
      started, ended: seconds since 1970; a container that was killed has no end.
      parameters: what its node was told.
      inputs: key -> artifacts, each with `uri` and `metadata`; addresses of buckets, as everywhere in it.
      error: what it raised, in one line, or None.
      refused: whether that was a gate's refusal.
    """

    started: float
    ended: float | None = None
    parameters: dict[str, Any] = {}
    inputs: dict[str, list[dict[str, Any]]] = {}
    error: str | None = None
    refused: bool = False


def buckets() -> str:
    """Folder that the buckets are mounted in."""
    return os.environ.get(BUCKETS, "/gcs").rstrip("/")


def mounted(text: str) -> str:
    """Text with every address of a bucket replaced by its path."""
    return text.replace(_SCHEME, buckets() + "/")


def addressed(value):
    """Plain data with every string that is a path below the buckets replaced by its address."""
    if isinstance(value, dict):
        return {key: addressed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [addressed(inner) for inner in value]
    if isinstance(value, str) and value.startswith(buckets() + "/"):
        return _SCHEME + value.removeprefix(buckets() + "/")
    return value


@contextlib.contextmanager
def recorded(invocation: dict) -> Iterator[None]:
    """Leaves the record of the container that works inside.

    Args:
      invocation: what the service handed it, an ExecutorInput.
    """
    given = addressed(invocation.get("inputs", {}))
    path = os.path.join(mounted(os.path.dirname(invocation["outputs"]["outputFile"])), RECORD)
    artifacts = {key: listed.get("artifacts", []) for key, listed in given.get("artifacts", {}).items()}
    record = TaskRecord(
        started=round(time.time(), 3),
        parameters=given.get("parameterValues", {}),
        inputs={
            key: [{"uri": a["uri"], "metadata": a.get("metadata", {})} for a in found]
            for key, found in artifacts.items()
        },
    )
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_record(path, record)
    told: dict[str, Any] = {}
    try:
        yield
    except Exception as error:
        told = {"error": in_one_line(error), "refused": isinstance(error, RefusedError)}
        raise
    finally:
        write_record(path, record.model_copy(update={"ended": round(time.time(), 3)} | told))


def read_jobs(folder: str) -> list[RunRecord]:
    """The jobs of a project whose containers left records, oldest first.

    Args:
      folder: mounted, `<root>/pipeline_root/<project number>`.
    """
    jobs = [_read_job(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    return sorted((job for job in jobs if job is not None), key=lambda run: run.started)


def _read_job(folder: str) -> RunRecord | None:
    tasks = []
    for name in os.listdir(folder):
        path, node = os.path.join(folder, name, RECORD), name.rpartition("_")[0]
        if node != HANDLER and os.path.isfile(path):
            tasks.append((read_record(path, TaskRecord), node, os.path.join(folder, name)))
    tasks.sort(key=lambda task: task[0].started)
    if not tasks:
        return None
    executed = {node: _node(node, number, record, path) for number, (record, node, path) in enumerate(tasks)}
    nodes = _from_cache(executed.values(), folder) | executed
    # A cached ExampleGen was told the same window as the node that counts after it.
    told = [nodes[name].parameters.get("window") for name in ("SpanExampleGen", "Conservation") if name in nodes]
    window = next((value.string_value for value in told if value is not None), None)
    if "SpanExampleGen" in nodes and window is not None:
        nodes["SpanExampleGen"].parameters = {**nodes["SpanExampleGen"].parameters, "window": _value(window)}
    run = RunRecord(os.path.basename(folder), tasks[0][0].started, nodes, window, spans_of(window))
    refused = {node: record.error for record, node, _ in tasks if record.refused}
    judge(run, lambda node: [refused[node.name]] if node.name in refused else [])
    if run.verdict == "failed":
        run.reasons = raised(run)
    return run


def _node(node: str, number: int, record: TaskRecord, folder: str) -> NodeRecord:
    parameters = {name: _value(mounted(value)) for name, value in record.parameters.items() if isinstance(value, str)}
    state, outputs = "running", {}
    if record.error is not None:
        state, parameters[ERROR] = "failed", _value(record.error)
    elif record.ended is not None:
        state = "complete"
        with open(os.path.join(folder, _OUTPUT), encoding="utf-8") as file:
            reported = json.load(file).get("artifacts", {})
        outputs = {key: _artifacts(listed["artifacts"]) for key, listed in reported.items()}
    seconds = (record.ended or record.started) - record.started
    inputs = {key: _artifacts(found) for key, found in record.inputs.items()}
    return NodeRecord("", node, number, state, seconds, parameters, inputs, outputs)


def _from_cache(executed, folder: str) -> dict[str, NodeRecord]:
    """The tasks of this job that were taken from an earlier one, by what those that ran were handed."""
    cached: dict[str, NodeRecord] = {}
    names = {node.name for node in executed}
    for node in executed:
        for key, found in node.inputs.items():
            for artifact in () if key in _OF_EARLIER_JOBS else found:
                place, _, output = artifact.uri.rstrip("/").rpartition("/")
                job, _, task = place.rpartition("/")
                name = task.rpartition("_")[0]
                if job != folder and name and name not in names:
                    record = cached.setdefault(name, NodeRecord("", name, -1, "cached", 0.0))
                    record.outputs[output] = [artifact]
    return cached


def _artifacts(found: list[dict]) -> list[metadata_store_pb2.Artifact]:
    artifacts = []
    for given in found:
        artifact = metadata_store_pb2.Artifact(uri=mounted(given["uri"]), state=metadata_store_pb2.Artifact.LIVE)
        # One of ours may have the name of one of TFX's, and counts.
        for name, value in sorted(given.get("metadata", {}).items(), key=lambda item: item[0].startswith(_PREFIX)):
            if value is not None:
                artifact.custom_properties[name.removeprefix(_PREFIX)].CopyFrom(_value(value))
        artifacts.append(artifact)
    return artifacts


def _value(value) -> metadata_store_pb2.Value:
    """A value of JSON, which has but one kind of number."""
    if isinstance(value, str):
        return metadata_store_pb2.Value(string_value=value)
    if isinstance(value, (int, float)):
        whole = float(value).is_integer()
        return metadata_store_pb2.Value(int_value=int(value)) if whole else metadata_store_pb2.Value(double_value=value)
    return metadata_store_pb2.Value(string_value=json.dumps(value))
