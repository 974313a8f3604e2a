"""What became of each run, read from a real MLMD database with the types and names that TFX writes."""

import io
import json
import sqlite3
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.errors import SegpipeError
from pipeline.records import INFERENCE, list_runs, newest_run, run_summary
from pipeline.tables import runs_table, scores_table

REFUSED = {"metrics": {"mean_iou": 0.31}, "baseline": None, "slices": {}, "refusals": ["mean_iou is under 0.5"]}
GOOD = {"metrics": {"mean_iou": 0.61, "iou/pet": None}, "baseline": {"mean_iou": 0.6}, "slices": {}, "refusals": []}


class Store:
    """Writes runs as TFX's launchers do."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, str(folder / "metadata.db")
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = self.path
        self._store = metadata_store.MetadataStore(config)
        self._types = {
            name: self._store.put_context_type(mlmd.ContextType(name=name)) for name in ("pipeline_run", "node")
        }
        self._execution = self._store.put_execution_type(mlmd.ExecutionType(name="any"))
        self._artifact = self._store.put_artifact_type(mlmd.ArtifactType(name="Any"))

    def _context(self, kind: str, name: str) -> int:
        known = self._store.get_context_by_type_and_name(kind, name)
        if known is not None:
            return known.id
        return self._store.put_contexts([mlmd.Context(type_id=self._types[kind], name=name)])[0]

    def node(self, run: str, name: str, state: str, pipeline: str = "segpipe", **outputs: dict) -> None:
        """One execution; `outputs` maps a key to the custom properties of its artifact, `uri` apart."""
        contexts = [self._context("pipeline_run", run), self._context("node", f"{pipeline}.{name}")]
        execution = mlmd.Execution(type_id=self._execution, last_known_state=mlmd.Execution.State.Value(state))
        artifacts = []
        for key, properties in outputs.items():
            artifact = mlmd.Artifact(type_id=self._artifact, uri=properties.pop("uri", "none"))
            for field, value in properties.items():
                kind = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[field], kind, value)
            event = mlmd.Event(type=mlmd.Event.OUTPUT, path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)]))
            artifacts.append((artifact, event))
        self._store.put_execution(execution, artifacts, self._store.get_contexts_by_id(contexts))

    def anomalies(self, split: str, feature: str, description: str) -> str:
        """What ExampleValidator writes for a split; returns the URI of all splits."""
        message = anomalies_pb2.Anomalies()
        message.anomaly_info[feature].description = description
        folder = self.folder / "anomalies" / f"Split-{split}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SchemaDiff.pb").write_bytes(message.SerializeToString())
        return str(folder.parent)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def evaluated(store: Store, run: str, summary: dict, state: str = "COMPLETE") -> None:
    store.node(run, "SegmentationEvaluator", state, evaluation={"summary": json.dumps(summary)})


def pushed(store: Store, run: str, state: str = "COMPLETE", pushed: int = 1, new: int = 1, version: str = "17") -> None:
    store.node(
        run, "AtomicPusher", state, pushed_model={"pushed": pushed, "pushed_version": version, "new_version": new}
    )


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


def test_a_model_that_the_gate_refused_says_why(store):
    evaluated(store, "r1", REFUSED)
    pushed(store, "r1", pushed=0)
    (run,) = list_runs(store.path)
    assert (run.verdict, run.version, run.reasons) == ("refused", None, ["mean_iou is under 0.5"])


def test_data_that_the_gate_refused_say_why(store):
    store.anomalies("eval", "height", "Out of range")
    uri = store.anomalies("train", "breed", "Unexpected string values")
    store.node("r1", "ExampleValidator", "COMPLETE", anomalies={"uri": uri})
    store.node("r1", "AnomalyGate", "FAILED")
    (run,) = list_runs(store.path)
    assert run.verdict == "refused"
    assert run.reasons == ["eval: height: Out of range", "train: breed: Unexpected string values"]


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
    with pytest.raises(SegpipeError, match="metadata.db: cannot be read as a metadata database"):
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
    assert rows[0] == ["r1", "pushed", "17", "(live)", "0.610", "2", "of", "2"]
    assert rows[1] == ["r2", "refused", "0.310", "2", "of", "2", "mean_iou", "is", "under", "0.5"]
    assert rows[2] == ["r3", "running", "-", "1", "of", "2", "Trainer"]


def test_the_table_of_scores_shows_a_dash_for_what_is_undefined():
    rows = printed(scores_table(GOOD["metrics"], GOOD["baseline"]))
    assert ["mean_iou", "0.610", "0.600"] in rows
    assert ["iou/pet", "-", "-"] in rows
    assert ["mean_iou", "0.610"] in printed(scores_table(GOOD["metrics"]))
