"""Ctrl-C and SIGTERM: one sentence, a fitting exit status and an end within seconds, whatever is going on; then the
same command finishes.
"""

import os
import signal

import pytest
from warm import IN_TRANSFORM, STALL, TO_GROUP, TO_PROCESS, before
from workbench import TINY, Bench, drawn

from components.ingest.spans import list_spans
from pipeline.records import newest_run

pytestmark = pytest.mark.e2e

_STATUS = {TO_GROUP: 128 + signal.SIGINT, TO_PROCESS: 128 + signal.SIGTERM}
_PATIENCE = 60
"""Seconds, on a busy machine. What is interrupted would go on for an hour."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    # Each step is written down, and the steps would last a day.
    training = TINY["training"] | {"steps": 1_000_000, "checkpoint_seconds": 0.0}
    bench = Bench(folder, {"training": training})
    drawn(folder / "drawn")
    return bench


def _ingest(warm, bench, fault=None, beam=None):
    if beam:
        bench.sections = bench.sections | {"beam": {"default": beam}}
    drawing = bench.folder / "drawn"
    folders = ("--images", drawing / "images", "--masks", drawing / "annotations" / "trimaps")
    return warm.segpipe(bench, "ingest", *folders, "--config", bench.config, fault=fault)


def _assert_stopped(process, name: str) -> None:
    assert process.wait(_PATIENCE) == _STATUS[name], process.stderr
    said = [line for line in process.stderr.splitlines() if line.strip()]
    assert said[-1] == f"segpipe: stopped by {name}; run the same command again to go on"
    assert "Traceback" not in process.stdout + process.stderr
    # Nothing of its process group is left: neither it nor its children.
    assert not process.group()


@pytest.mark.parametrize("name", [TO_GROUP, TO_PROCESS])
def test_ingest_stops_in_the_middle_of_a_photo(warm, bench, name):
    process = _ingest(warm, bench, before("open", r"/images/.*\.jpg$", name, STALL, count=20))
    _assert_stopped(process, name)
    assert list_spans(str(bench.workspace / "data")) == []


_THREADS = {"direct_running_mode": "multi_threading", "direct_num_workers": 2}


def test_ingest_stops_although_a_thread_of_beam_never_returns(warm, bench):
    usual = dict(bench.sections)
    fault = before("open", r"/images/.*\.jpg$", TO_GROUP, STALL, count=20)
    _assert_stopped(_ingest(warm, bench, fault, _THREADS), TO_GROUP)
    bench.sections = usual


def test_after_the_signals_ingest_finishes(warm, bench):
    process = _ingest(warm, bench)
    assert process.wait() == 0, process.stderr
    assert os.listdir(bench.workspace / "data") == ["span-1"]


def _run(warm, bench, *arguments, fault=None):
    return warm.segpipe(bench, "run", "--config", bench.config, *arguments, fault=fault)


def _state(bench, node: str) -> tuple[str, str]:
    run = newest_run(str(bench.workspace / "metadata.db"))
    return run.verdict, run.nodes[node].state


@pytest.mark.parametrize(("engine", "name"), [("local", TO_GROUP), ("beam", TO_PROCESS)])
def test_a_run_stops_in_a_beam_stage(warm, bench, engine, name):
    process = _run(warm, bench, "--engine", engine, fault=before("open", IN_TRANSFORM, name))
    _assert_stopped(process, name)
    assert _state(bench, "Transform") == ("interrupted", "running")


@pytest.mark.parametrize(("engine", "name"), [("local", TO_GROUP), ("beam", TO_GROUP), ("local", TO_PROCESS)])
def test_a_run_stops_while_it_trains(warm, bench, engine, name):
    process = _run(warm, bench, "--engine", engine)
    while not list(bench.workspace.glob("checkpoints/*.npz")):
        assert process.poll() is None, process.stderr
    os.killpg(process.pid, signal.SIGINT) if name == TO_GROUP else os.kill(process.pid, signal.SIGTERM)
    _assert_stopped(process, name)
    assert _state(bench, "Trainer") == ("interrupted", "running")
    assert bench.versions() == []
    # Kept for who starts the command again; here, the next case waits for a new one.
    for checkpoint in bench.workspace.glob("checkpoints/*.npz"):
        checkpoint.unlink()


def test_after_the_signals_a_run_finishes(warm, bench):
    bench.sections = {}
    warm.run(bench)
    assert newest_run(str(bench.workspace / "metadata.db")).verdict == "pushed"
