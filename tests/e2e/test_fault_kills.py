"""SIGKILL at every node, in ingest and in the push: the same command again finishes with the result of an undisturbed
one, and meanwhile nobody sees anything half-written.
"""

import filecmp
import json
import os
import signal
from pathlib import Path

import pytest
from warm import IN_TRANSFORM, KILL, at_end, at_resolution, before
from workbench import NODES, Bench, drawn, weights

from components.ingest.spans import list_spans
from components.pusher.versions import list_versions, origin
from pipeline.records import list_runs
from pipeline.workspace import Workspace

pytestmark = pytest.mark.e2e

_UNDISTURBED = {"training": {"steps": 4, "batch_size": 8, "evaluations": 1, "checkpoint_seconds": 0.0}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("dataset") / "drawn")


def _bench(folder) -> Bench:
    folder.mkdir()
    return Bench(folder, dict(_UNDISTURBED))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, warm, dataset):
    """A workspace in which nothing was killed."""
    bench = _bench(tmp_path_factory.mktemp("undisturbed") / "bench")
    assert _ingest(warm, bench, dataset).wait() == 0
    warm.run(bench)
    return bench


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return _bench(tmp_path_factory.mktemp("killed") / "bench")


def _ingest(warm, bench, dataset, fault=None):
    masks = dataset / "annotations" / "trimaps"
    lists = ("--split-lists", dataset / "annotations")
    folders = ("--images", dataset / "images", "--masks", masks, *lists)
    return warm.segpipe(bench, "ingest", *folders, "--config", bench.config, fault=fault)


def _files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _runs(bench) -> list:
    workspace = Workspace.at(str(bench.workspace))
    return list_runs(workspace.metadata, writing=workspace.is_held())


@pytest.mark.parametrize(
    "fault",
    [
        before("open", r"/images/.*\.jpg$", KILL, count=20),
        before("open", r"/span-1/manifest\.json$|/\.span-1-.*/manifest\.json$", KILL),
        before("os.rename", r"/\.span-1-", KILL),
    ],
    ids=["between photos", "before the manifest", "before the rename"],
)
def test_a_killed_ingest_leaves_no_span_and_the_next_one_writes_the_same(warm, dataset, killed, undisturbed, fault):
    data = killed.workspace / "data"
    assert _ingest(warm, killed, dataset, fault).wait() == -signal.SIGKILL
    assert list_spans(str(data)) == []


def test_after_the_kills_ingest_writes_what_an_undisturbed_one_writes(warm, dataset, killed, undisturbed):
    assert _ingest(warm, killed, dataset).wait() == 0
    data = killed.workspace / "data"
    assert os.listdir(data) == ["span-1"]
    assert _files(data / "span-1") == _files(undisturbed.workspace / "data" / "span-1")


_WALK = [
    ("ImportSchemaGen", "local", at_end("ImportSchemaGen", KILL)),
    ("LatestBlessedModel", "local", at_resolution("LatestBlessedModel", KILL)),
    ("SpanExampleGen", "beam", at_end("SpanExampleGen", KILL)),
    ("StatisticsGen", "local", at_end("StatisticsGen", KILL)),
    ("ExampleValidator", "beam", at_end("ExampleValidator", KILL)),
    ("AnomalyGate", "local", at_end("AnomalyGate", KILL)),
    ("Transform", "beam", before("open", IN_TRANSFORM, KILL)),
    ("Transform", "local", at_end("Transform", KILL)),
    ("Trainer", "local", at_end("Trainer", KILL)),
    ("ModelCanary", "beam", at_end("ModelCanary", KILL)),
    ("SegmentationEvaluator", "local", at_end("SegmentationEvaluator", KILL)),
    ("Conservation", "beam", at_end("Conservation", KILL)),
    ("AtomicPusher", "local", before("os.rename", r"/serving_model/\.pushing-", KILL)),
    ("AtomicPusher", "beam", at_end("AtomicPusher", KILL)),
]
"""In the order of a run: node, engine and moment of each kill."""


def test_the_walk_kills_at_every_node():
    assert {node for node, _, _ in _WALK} == NODES


def _assert_nothing_half_written(bench) -> None:
    for version in list_versions(str(bench.serving)):
        served = bench.serving / str(version)
        model = Path(origin(str(bench.serving), version)) / "Format-Serving"
        names = [str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()]
        assert filecmp.cmpfiles(model, served, names, shallow=False) == (names, [], [])
    for report in bench.workspace.glob("reports/*/report.json"):
        json.loads(report.read_text())


@pytest.mark.parametrize(("node", "engine", "fault"), _WALK, ids=lambda value: value if isinstance(value, str) else "")
def test_a_kill_interrupts_the_run_and_leaves_nothing_half_written(
    warm, dataset, killed, undisturbed, node, engine, fault
):
    if not list_spans(str(killed.workspace / "data")):
        assert _ingest(warm, killed, dataset).wait() == 0
    warm.run(killed, "--engine", engine, fault=fault, status=-signal.SIGKILL)
    run = _runs(killed)[-1]
    assert run.verdict == "interrupted"
    # A resolver is recorded once it is through.
    assert node == "LatestBlessedModel" or run.nodes[node].state == "running"
    assert {state.name for state in run.nodes.values() if state.state == "failed"} == set()
    _assert_nothing_half_written(killed)


def test_after_the_kills_the_same_command_finishes_with_the_same_model_pushed_once(warm, killed, undisturbed):
    warm.run(killed)
    run = _runs(killed)[-1]
    # The last kill came after the model had gone live, so that nothing is new.
    assert (run.verdict, set(run.nodes)) == ("unchanged", NODES)
    (ours,), (theirs,) = (list_versions(str(bench.serving)) for bench in (killed, undisturbed))
    assert run.version == ours
    assert sorted(os.listdir(killed.serving)) == [str(ours)]
    ours, theirs = weights(killed.serving / str(ours)), weights(undisturbed.serving / str(theirs))
    assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)
    assert run.summary["metrics"] == _runs(undisturbed)[-1].summary["metrics"]
