"""From MLMD to the facts of a run: which run it was compared with, which data came before, and which run is meant."""

import json
import re

import pytest
from stored_runs import GOOD, Store, evaluated, pushed

from components.errors import UsageError
from components.run_report.page import render
from pipeline.records import list_runs
from pipeline.report import collect_facts, find_run, stored_records
from pipeline.workspace import Workspace


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def facts_of(store: Store, name: str) -> dict:
    runs = list_runs(store.path)
    workspace = Workspace.at(str(store.folder))
    return collect_facts(workspace, find_run(workspace, name, runs), runs)


def trained(store: Store, run: str, model: str, version: str, baseline: str | None = None) -> None:
    store.node(run, "Trainer", "COMPLETE", model={"uri": model})
    inputs = {"baseline_model": baseline} if baseline else {}
    summary = GOOD if baseline else GOOD | {"baseline": None}
    store.node(run, "SegmentationEvaluator", "COMPLETE", inputs=inputs, evaluation={"summary": json.dumps(summary)})
    pushed(store, run, version=version)


def test_the_baseline_is_told_by_the_run_that_trained_it_and_its_version(store):
    trained(store, "r1", "model-1", "16")
    trained(store, "r2", "model-2", "17", baseline="model-1")
    assert facts_of(store, "r1")["baseline_model"] is None
    assert facts_of(store, "r2")["baseline_model"] == {"run_id": "r1", "version": 16, "model": "model-1"}


def test_a_model_that_is_compared_with_itself_is_its_own_baseline(store):
    trained(store, "r1", "model-1", "16")
    store.node("r2", "Trainer", "CACHED", model={"uri": "model-1"})
    inputs, outputs = {"model": "model-1"}, {"evaluation": {"summary": json.dumps(GOOD)}}
    store.node("r2", "SegmentationEvaluator", "COMPLETE", inputs=inputs, **outputs)
    pushed(store, "r2", new=0, version="16")
    assert facts_of(store, "r2")["baseline_model"] == {"run_id": "r1", "version": 16, "model": "model-1"}


def test_a_baseline_that_could_not_be_compared_with_is_none(store):
    trained(store, "r1", "model-1", "16")
    store.node("r2", "Trainer", "COMPLETE", model={"uri": "model-2"})
    lost = json.dumps(GOOD | {"baseline": None, "lost_baseline": "it is gone"})
    inputs = {"baseline_model": "model-1"}
    store.node("r2", "SegmentationEvaluator", "COMPLETE", inputs=inputs, evaluation={"summary": lost})
    facts = facts_of(store, "r2")
    assert (facts["baseline_model"], facts["lost_baseline"]) == (None, "it is gone")


def test_previous_statistics_are_those_of_the_newest_earlier_run_on_other_data(store):
    for run, window in (("r1", "w1"), ("r2", "w2"), ("r3", "w3"), ("r4", "w3"), ("r5", "w4")):
        store.node(run, "SpanExampleGen", "COMPLETE", parameters={"window": window})
        store.node(run, "StatisticsGen", "COMPLETE", statistics={"uri": f"statistics-{run}"})
    runs = list_runs(store.path)
    previous = {run.run_id: stored_records(run, runs).previous_statistics for run in runs}
    assert previous == {
        "r1": None,
        "r2": "statistics-r1",
        "r3": "statistics-r2",
        "r4": "statistics-r2",
        "r5": "statistics-r4",
    }


def test_the_history_ends_with_the_run_itself(store):
    for number in range(3):
        evaluated(store, f"r{number}", GOOD)
        pushed(store, f"r{number}")
    assert [run["run_id"] for run in facts_of(store, "r1")["history"]] == ["r0", "r1"]
    assert [run["mean_iou"] for run in facts_of(store, "latest")["history"]] == [0.61] * 3


def test_counts_of_the_conservation_are_taken_as_they_are(store):
    counts = {"train": {"manifest": 3, "Transform": 3}}
    store.node("r1", "Conservation", "COMPLETE", blessing={"counts": json.dumps(counts)})
    assert facts_of(store, "r1")["data"]["counts"] == counts


def test_what_the_gate_compared_with_the_span_before_is_on_the_page(store):
    drift = {"feature": "brightness", "span": 2, "previous": 1, "now": 0.61, "before": 0.5, "distance": 0.19}
    drift |= {"threshold": 0.25, "value": None}
    store.node("r1", "AnomalyGate", "COMPLETE", blessing={"drift": json.dumps([drift])})
    facts = facts_of(store, "r1")
    assert facts["data"]["drift"] == [drift]
    row = render(facts, {}, None).partition('<th scope="row">brightness</th>')[2].partition("</tr>")[0]
    assert re.findall(r">([^<]+)</td>", row) == ["2 and 1", "0.610", "0.500", "0.190", "0.250"]


def test_a_run_that_is_not_there_is_one_sentence(store):
    workspace = Workspace.at(str(store.folder))
    with pytest.raises(UsageError, match="no run in .* yet; run segpipe run"):
        find_run(workspace, "latest", [])
    evaluated(store, "r1", GOOD)
    with pytest.raises(UsageError, match="RUN r9: no such run; segpipe status --workspace .* lists them"):
        find_run(workspace, "r9", list_runs(store.path))
