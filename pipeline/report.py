"""From the records of a run to its report; called after every run, and by `segpipe report` and `segpipe diff`."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

from components.errors import UsageError
from components.run_report.facts import Stored, run_facts
from pipeline.records import runs_of
from pipeline.run_record import RunRecord, run_summary
from pipeline.run_setup import read_setup
from pipeline.workspace import Workspace

LATEST = "latest"
_COUNTS, _DRIFT = "counts", "drift"
_HISTORY = 60


def find_run(workspace: Workspace, name: str, runs: Sequence[RunRecord]) -> RunRecord:
    """The run of an id, or the newest for `latest`.

    Raises:
      UsageError: if there is none.
    """
    if not runs:
        raise UsageError(f"no run in {workspace.root} yet; run segpipe run --workspace {workspace.root} first")
    found = runs[-1] if name == LATEST else next((run for run in runs if run.run_id == name), None)
    if found is None:
        raise UsageError(f"RUN {name}: no such run; segpipe status --workspace {workspace.root} lists them")
    return found


def write_report(workspace: Workspace, name: str, same_pictures: bool = False) -> str:
    """Makes the report of a run from stored records, over that of before.

    Args:
      workspace: where the run is.
      name: its id, or `latest`.
      same_pictures: take those of an earlier run with the same model where they show the same; else they are drawn.

    Returns:
      Path of the page.

    Raises:
      UsageError: if there is no such run.
    """
    runs = runs_of(workspace)
    return write_report_of(workspace, find_run(workspace, name, runs), runs, same_pictures)


def write_report_of(
    workspace: Workspace, run: RunRecord, runs: Sequence[RunRecord], same_pictures: bool = False
) -> str:
    """As `write_report`; for arguments see `collect_facts`."""
    facts = collect_facts(workspace, run, runs)
    from components.run_report.report import write_report_files

    model = run.output("Trainer", "model")
    earlier = _having(model.uri, _earlier(run, runs)) if same_pictures and model else []
    folder = workspace.report(earlier[-1].run_id) if earlier else None
    return write_report_files(facts, _fetched(workspace, run, runs), workspace.report(run.run_id), folder)


def collect_facts(workspace: Workspace, run: RunRecord, runs: Sequence[RunRecord]) -> dict:
    """Every figure of a run; see `run_facts`.

    Args:
      workspace: where it is.
      run: one of `runs`.
      runs: all of the workspace, oldest first.
    """
    setup = read_setup(workspace, run.run_id)
    kept = None if setup is None else setup.model_dump()
    history = _history([*_earlier(run, runs), run][-_HISTORY:])
    stored = _fetched(workspace, run, runs)
    return run_facts(run_summary(run), run.summary, stored, kept, history, _baseline(run, runs))


def _fetched(workspace: Workspace, run: RunRecord, runs: Sequence[RunRecord]) -> Stored:
    """As `stored_records`, with the files here that a report reads."""
    stored = stored_records(run, runs)
    workspace.fetch([stored.statistics, stored.previous_statistics, stored.anomalies, stored.model, stored.training])
    workspace.fetch([stored.examples], lambda path: "/Split-eval/" in path)
    return stored


def stored_records(run: RunRecord, runs: Sequence[RunRecord]) -> Stored:
    """Where the records of a run lie, by what its nodes have left in MLMD."""

    def uri(node: str, key: str) -> str | None:
        artifact = run.output(node, key)
        return None if artifact is None else artifact.uri

    def left(node: str, key: str, name: str) -> Any:
        artifact = run.output(node, key)
        return json.loads(artifact.custom_properties[name].string_value or "null") if artifact is not None else None

    canary = run.output("ModelCanary", "blessing")
    return Stored(
        window=_parameter(run, "SpanExampleGen", "window"),
        statistics=uri("StatisticsGen", "statistics"),
        previous_statistics=_previous_statistics(run, runs),
        anomalies=uri("ExampleValidator", "anomalies"),
        examples=uri("SpanExampleGen", "examples"),
        model=uri("Trainer", "model"),
        training=uri("Trainer", "model_run"),
        counts=left("Conservation", "blessing", _COUNTS),
        drift=left("AnomalyGate", "blessing", _DRIFT),
        canary=canary and {k: _number(canary.custom_properties[k]) for k in ("latency_ms", "memory_mb")},
    )


def _number(value) -> float:
    """A value of MLMD; where it went through JSON, a whole number became an integer."""
    return value.double_value or float(value.int_value)


def _parameter(run: RunRecord, node: str, name: str) -> str | None:
    record = run.nodes.get(node)
    return record.parameters[name].string_value if record is not None and name in record.parameters else None


def _previous_statistics(run: RunRecord, runs: Sequence[RunRecord]) -> str | None:
    """Statistics of the newest earlier run that worked on another window."""
    window = _parameter(run, "SpanExampleGen", "window")
    for other in reversed(_earlier(run, runs)):
        statistics = other.output("StatisticsGen", "statistics")
        if statistics is not None and _parameter(other, "SpanExampleGen", "window") != window:
            return statistics.uri
    return None


def _having(model: str, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs whose Trainer gave a model, be it from the cache, in their order."""
    return [run for run in runs if (found := run.output("Trainer", "model")) and found.uri == model]


def _earlier(run: RunRecord, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs before one, by their order: a clock may have been set back between them."""
    return list(itertools.takewhile(lambda other: other.run_id != run.run_id, runs))


def _baseline(run: RunRecord, runs: Sequence[RunRecord]) -> dict | None:
    """The run that trained what the Evaluator compared with, and the version that it was pushed as."""
    evaluator = run.nodes.get("SegmentationEvaluator")
    if evaluator is None or not (run.summary or {}).get("baseline"):
        return None
    # MLMD keeps one event for an artifact and an execution: a model that is its own baseline has but one of the keys.
    models = evaluator.inputs.get("baseline_model") or evaluator.inputs.get("model")
    if not models:
        return None
    trained = _having(models[0].uri, runs)
    version = next((other.version for other in trained if other.version is not None), None)
    return {"run_id": trained[0].run_id if trained else None, "version": version, "model": models[0].uri}


def _history(runs: Sequence[RunRecord]) -> list[dict]:
    history = []
    for run in runs:
        summary = run.summary or {}
        scores = {
            "mean_iou": summary.get("metrics", {}).get("mean_iou"),
            "half_width": summary.get("intervals", {}).get("mean_iou"),
        }
        known = {"run_id": run.run_id, "started": run.started, "verdict": run.verdict, "version": run.version}
        history.append(known | scores)
    return history
