"""What became of each run, read from a real MLMD database with the types and names that TFX writes."""

import io
import json
import sqlite3
import time
from pathlib import Path

import pytest
from metadata_service import metadata_service
from rich.console import Console
from stored_runs import GOOD, REFUSED, Store, blessed_by_hand, evaluated, pushed, refused

from components.errors import SegpipeError
from pipeline.records import INFERENCE, list_runs, newest_run, runs_of
from pipeline.run_record import run_summary
from pipeline.run_setup import RunSetup, write_setup
from pipeline.tables import result_lines, runs_table, scores_table
from pipeline.workspace import Workspace


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_a_pushed_run(store):
    store.node("r1", "Trainer", "COMPLETE")
    evaluated(store, "r1", GOOD)
    pushed(store, "r1")
    (run,) = list_runs(store.path)
    assert (run.run_id, run.verdict, run.version, run.reasons) == ("r1", "pushed", 17, [])
    assert list(run.nodes) == ["Trainer", "SegmentationEvaluator", "AtomicPusher"]


@pytest.mark.parametrize("state, new", [("CACHED", 1), ("COMPLETE", 0)], ids=["from the cache", "live already"])
def test_a_run_that_pushed_no_second_copy_is_unchanged(store, state, new):
    evaluated(store, "r1", GOOD)
    pushed(store, "r1", state, new=new)
    assert [(run.verdict, run.version) for run in list_runs(store.path)] == [("unchanged", 17)]


def test_a_run_on_a_server_goes_on_until_its_exit_handler_has_begun(store, tmp_path):
    setup = RunSetup(config={}, engine="kubeflow", versions={}, commit=None, source="s")
    store.node("r1", "Trainer", "COMPLETE")
    store.node("r2", "Trainer", "RUNNING")
    store.node("r3", "Trainer", "RUNNING")
    with metadata_service(store.path) as address:
        workspace = Workspace.at(str(tmp_path), address)
        write_setup(workspace, "r2", setup.model_copy(update={"ended": 1.0}))
        write_setup(workspace, "r3", setup)
        assert [run.verdict for run in runs_of(workspace)] == ["running", "interrupted", "running"]
        assert [run.run_id for run in runs_of(workspace, newest=2)] == ["r2", "r3"]


def test_a_step_that_failed_alone_says_what_it_raised(store):
    store.node("r1", "Trainer", "FAILED", parameters={"error": "RuntimeError: boom"})
    (run,) = list_runs(store.path)
    assert (run.verdict, run.reasons) == ("failed", ["Trainer failed: RuntimeError: boom"])


def test_a_model_that_the_gate_refused_says_why(store):
    evaluated(store, "r1", REFUSED)
    pushed(store, "r1", pushed=0)
    (run,) = list_runs(store.path)
    assert (run.verdict, run.version, run.reasons) == ("refused", None, ["mean_iou is under 0.5"])


@pytest.mark.parametrize("gate", ["AnomalyGate", "ModelCanary", "Conservation"])
def test_a_gate_that_refused_says_why(store, gate):
    reasons = ["eval: height: Out of range", "train: breed: Unexpected string values"]
    evaluated(store, "r1", GOOD)
    store.refusal("r1", gate, reasons)
    (run,) = list_runs(store.path)
    assert (run.verdict, run.reasons, run.version) == ("refused", reasons, None)


def test_a_run_says_which_spans_it_ran_on(store, tmp_path):
    span = {"folder": "/data/span", "manifest_sha256": "0" * 64}
    window = tmp_path / "window.json"
    window.write_text(json.dumps({"spans": [span | {"number": number} for number in (2, 10)]}))
    store.node("r1", "SpanExampleGen", "CACHED", parameters={"window": str(window)})
    store.node("r2", "SpanExampleGen", "COMPLETE", parameters={"window": str(tmp_path / "gone.json")})
    first, second = list_runs(store.path)
    assert (first.spans, run_summary(first)["spans"], second.spans) == ([2, 10], [2, 10], [])
    rows = printed(runs_table([first, second], live=None))
    assert (rows[1][3:5], rows[2][3]) == (["2,", "10"], "-")


def test_a_refused_run_that_a_person_blessed_keeps_its_reasons_and_says_who_and_why(store, tmp_path):
    refused(store, "r1", tmp_path)
    blessed_by_hand(store, "r1", tmp_path)
    (run,) = list_runs(store.path)
    assert (run.verdict, run.version, run.reasons) == ("blessed", 17, ["mean_iou is under 0.5"])
    summary = json.loads(json.dumps(run_summary(run)))["blessing"]
    assert (summary["by"], summary["reason"], summary["version"]) == ("ana", "seen [by] eye", 17)
    assert abs(summary["at"] - time.time()) < 60
    (row,) = printed(runs_table([run], live=17))[1:]
    assert row[:4] == ["r1", "blessed", "17", "(live)"]
    assert "blessed by ana: seen [by] eye; mean_iou is under 0.5" in " ".join(row)


@pytest.mark.parametrize("live, verdict, version", [(1, "unchanged", 17), (0, "refused", None)])
def test_a_later_run_of_a_blessed_model_is_fine_while_that_model_is_live(store, tmp_path, live, verdict, version):
    refused(store, "r1", tmp_path)
    blessed_by_hand(store, "r1", tmp_path)
    refused(store, "r2", tmp_path, live)
    refused(store, "r3", tmp_path / "another")
    first, later, another = list_runs(store.path)
    assert (first.verdict, later.verdict, later.version) == ("blessed", verdict, version)
    assert (another.verdict, another.blessing) == ("refused", None)
    # What became of a run is the same when only the newest are listed.
    assert list_runs(store.path, newest=2) == [later, another]


def test_a_blessing_that_the_canary_prevented_is_told_beside_what_the_gate_said(store, tmp_path):
    refused(store, "r1", tmp_path / "model")
    store.node("r1", "HandBlessing", "FAILED")
    reasons = tmp_path / "pipeline_root" / "HandBlessing" / "refused" / "7.json"
    reasons.parent.mkdir(parents=True)
    reasons.write_text('["the exported model may not serve: it is broken"]')
    (run,) = list_runs(store.path)
    assert (run.verdict, run.version, run.blessing) == ("refused", None, None)
    assert run.reasons == ["mean_iou is under 0.5", "the exported model may not serve: it is broken"]


def test_a_run_whose_baseline_was_lost_says_so(store):
    evaluated(store, "r1", GOOD | {"baseline": None, "lost_baseline": "the baseline at b is gone"})
    pushed(store, "r1")
    (run,) = list_runs(store.path)
    assert run_summary(run)["lost_baseline"] == "the baseline at b is gone"
    assert printed(runs_table([run], live=17))[1][-6:] == ["the", "baseline", "at", "b", "is", "gone"]


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
@pytest.mark.parametrize("node", ["Trainer", "AnomalyGate"])
def test_a_run_that_broke_failed(store, node, state):
    # A gate that breaks for another reason than an anomaly refused nothing.
    store.node("r1", "SpanExampleGen", "COMPLETE")
    store.node("r1", node, state)
    (run,) = list_runs(store.path)
    assert (run.verdict, run.reasons, run.nodes[node].state) == ("failed", [], state.lower())


@pytest.mark.parametrize("writing, verdicts", [(True, ["interrupted", "running"]), (False, ["interrupted"] * 2)])
def test_a_run_that_did_not_end_goes_on_only_while_somebody_writes(store, writing, verdicts):
    for run in ("r1", "r2"):
        store.node(run, "SpanExampleGen", "COMPLETE")
        store.node(run, "Trainer", "RUNNING")
    assert [run.verdict for run in list_runs(store.path, writing=writing)] == verdicts


def test_runs_are_listed_oldest_first_and_the_newest_can_be_asked_for(store):
    for number in range(5):
        store.node(f"r{number}", "Trainer", "COMPLETE")
    assert [run.run_id for run in list_runs(store.path)] == ["r0", "r1", "r2", "r3", "r4"]
    assert [run.run_id for run in list_runs(store.path, newest=2)] == ["r3", "r4"]
    assert newest_run(store.path).run_id == "r4"


@pytest.mark.parametrize("state, verdict", [("COMPLETE", "tuned"), ("CACHED", "tuned"), ("FAILED", "failed")])
def test_a_search_is_told_from_a_training_run(store, state, verdict):
    store.node("r1", "Transform", "CACHED")
    store.node("r1", "Tuner", state, best_hyperparameters={})
    (run,) = list_runs(store.path)
    assert run.verdict == verdict
    Console(file=io.StringIO()).print(runs_table([run], live=None))


def test_batch_inference_is_no_training_run_and_is_listed_apart(store):
    store.node("r1", "Trainer", "COMPLETE")
    store.node("i1", "BulkInferrer", "COMPLETE", "segpipe.infer")
    store.node("r2", "Trainer", "COMPLETE")
    store.node("i2", "BulkInferrer", "COMPLETE", "segpipe.infer")
    assert [run.run_id for run in list_runs(store.path)] == ["r1", "r2"]
    assert [run.run_id for run in list_runs(store.path, newest=2)] == ["r1", "r2"]
    assert newest_run(store.path).run_id == "r2"
    assert [run.run_id for run in list_runs(store.path, kind=INFERENCE)] == ["i1", "i2"]
    assert newest_run(store.path, INFERENCE).nodes["BulkInferrer"].state == "complete"


def test_a_training_run_that_did_not_end_was_interrupted_though_inference_goes_on(store):
    store.node("r1", "Trainer", "RUNNING")
    store.node("i1", "BulkInferrer", "RUNNING", "segpipe.infer")
    assert [run.verdict for run in list_runs(store.path, writing=True)] == ["interrupted"]
    assert [run.verdict for run in list_runs(store.path, writing=True, kind=INFERENCE)] == ["running"]


def test_a_workspace_that_never_ran_has_no_runs(tmp_path):
    (tmp_path / "empty.db").touch()
    assert list_runs(str(tmp_path / "missing.db")) == list_runs(str(tmp_path / "empty.db")) == []
    assert newest_run(str(tmp_path / "missing.db")) is None


def test_a_damaged_database_is_one_sentence_that_names_it(tmp_path):
    (tmp_path / "metadata.db").write_bytes(b"no database" * 500)
    with pytest.raises(SegpipeError, match="metadata.db: is damaged"):
        list_runs(str(tmp_path / "metadata.db"))


def test_reading_goes_on_while_a_run_writes_and_changes_nothing(store):
    store.node("r1", "Trainer", "RUNNING")
    writer = sqlite3.connect(store.path)
    writer.execute("BEGIN IMMEDIATE")
    before = Path(store.path).read_bytes()
    assert [run.run_id for run in list_runs(store.path)] == ["r1"]
    writer.rollback()
    writer.close()
    assert Path(store.path).read_bytes() == before


def test_a_summary_is_plain_json(store):
    evaluated(store, "r1", GOOD)
    pushed(store, "r1")
    summary = json.loads(json.dumps(run_summary(list_runs(store.path)[0])))
    assert (summary["run_id"], summary["verdict"], summary["version"]) == ("r1", "pushed", 17)
    assert summary["metrics"] == GOOD["metrics"]
    assert {name: node["state"] for name, node in summary["nodes"].items()} == {
        "SegmentationEvaluator": "complete",
        "AtomicPusher": "complete",
    }


GOLDEN = {"metrics": {"mean_iou": 0.55}, "intervals": {"mean_iou": 0.02}, "slices": {}, "slice_intervals": {}}


def golden(store: Store, run: str, span: int = 3) -> None:
    store.node(run, "GoldenExamples", "CACHED", examples={"span": span})
    store.node(run, "GoldenEvaluator", "COMPLETE", evaluation={"summary": json.dumps(GOLDEN | {"refusals": []})})


def test_a_run_with_a_golden_span_tells_its_scores_there_beside_its_own(store):
    evaluated(store, "r1", GOOD | {"intervals": {"mean_iou": 0.013}})
    golden(store, "r1")
    summary = run_summary(list_runs(store.path)[0])
    assert summary["golden"] == {"span": 3} | GOLDEN
    assert (summary["metrics"]["mean_iou"], summary["intervals"]) == (0.61, {"mean_iou": 0.013})


def test_a_run_without_a_golden_span_has_none(store):
    evaluated(store, "r1", GOOD)
    assert run_summary(list_runs(store.path)[0])["golden"] is None


def printed(table) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def test_the_table_of_runs_says_verdict_score_and_what_is_live(store):
    evaluated(store, "r1", GOOD)
    pushed(store, "r1", version="17")
    evaluated(store, "r2", REFUSED)
    pushed(store, "r2", pushed=0)
    store.node("r3", "SpanExampleGen", "CACHED")
    store.node("r3", "Trainer", "RUNNING")
    rows = printed(runs_table(list_runs(store.path, writing=True), live=17))[1:]
    assert rows[0] == ["r1", "pushed", "17", "(live)", "0.610", "-", "2", "of", "2"]
    assert rows[1] == ["r2", "refused", "0.310", "-", "2", "of", "2", "mean_iou", "is", "under", "0.5"]
    assert rows[2] == ["r3", "running", "-", "-", "1", "of", "2", "Trainer"]


def test_the_lines_of_a_result_hold_whole_paths_however_narrow_the_terminal(store):
    store.node("r1", "Trainer", "CACHED")
    evaluated(store, "r1", GOOD)
    pushed(store, "r1")
    path = "/home/[ana]/" + 30 * "long/" + "report.html"
    console = Console(width=40)
    with console.capture() as capture:
        for line in result_lines(list_runs(store.path)[0], {"report": path, "picture": None}):
            console.print(line, soft_wrap=True)
    lines = [line.split() for line in capture.get().splitlines()]
    assert lines[:3] == [["run", "r1"], ["verdict", "pushed"], ["version", "17"]]
    assert lines[3][:4] == ["components", "2", "executed", "in"] and lines[3][-2:] == ["1", "cached"]
    assert lines[4:] == [["report", path]]


def test_the_table_of_scores_shows_a_dash_for_what_is_undefined():
    rows = printed(scores_table(GOOD["metrics"], GOOD["baseline"]))
    assert ["mean_iou", "0.610", "0.600"] in rows
    assert ["iou/pet", "-", "-"] in rows
    assert ["mean_iou", "0.610"] in printed(scores_table(GOOD["metrics"]))


def test_the_table_of_scores_shows_intervals_and_the_golden_set():
    intervals = {"mean_iou": 0.0134, "iou/pet": None}
    rows = printed(scores_table(GOOD["metrics"], GOOD["baseline"], intervals, {"span": 3} | GOLDEN))
    assert rows[0] == ["score", "this", "model", "blessed", "model", "on", "golden", "span", "3"]
    assert ["mean_iou", "0.610", "±", "0.013", "0.600", "0.550", "±", "0.020"] in rows
    assert ["iou/pet", "-", "-", "-"] in rows
    assert rows[-1][:4] == ["±:", "95", "%", "confidence,"]


def test_the_table_of_runs_compares_them_on_the_golden_set_where_there_is_one(store):
    evaluated(store, "r1", GOOD)
    pushed(store, "r1")
    assert "golden" not in printed(runs_table(list_runs(store.path), live=None))[0]
    evaluated(store, "r2", GOOD)
    pushed(store, "r2")
    golden(store, "r2")
    rows = printed(runs_table(list_runs(store.path), live=None))
    assert rows[0][3:5] == ["mean_iou", "golden"]
    assert [row[3:5] for row in rows[1:]] == [["0.610", "-"], ["0.610", "0.550"]]
