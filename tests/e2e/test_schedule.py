"""Weeks of scheduled retraining with the real commands, on a clock that the test moves; and a SIGTERM in a run."""

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from hook_server import hooked
from set_clock import Over, SetClock
from workbench import OPEN_GATE, TINY, Bench, drawn

from components.ingest.spans import list_spans, read_manifest
from pipeline.retraining import Folders, Retraining
from pipeline.schedule import Schedule, only_schedule
from pipeline.schedule_state import State, read_state, write_state
from pipeline.workspace import Workspace

pytestmark = pytest.mark.e2e

MONDAYS = "0 3 * * 1"
MISSED, SECOND, THIRD, FOURTH, FIFTH = (
    datetime.fromisoformat(f"2020-{day} 03:00").timestamp() for day in ("01-06", "01-13", "01-20", "01-27", "02-03")
)


class Inbox:
    """A watched folder that grows."""

    def __init__(self, folder: Path):
        self.images, self.masks, self._drawings = folder / "images", folder / "masks", folder / "drawings"
        self.images.mkdir(parents=True)
        self.masks.mkdir()

    def grow(self, seed: int) -> None:
        drawing = drawn(self._drawings / str(seed), photos=32, seed=seed)
        for photo in (drawing / "images").iterdir():
            stem = f"{photo.stem}0{seed}"
            shutil.copy(photo, self.images / f"{stem}.jpg")
            shutil.copy(drawing / "annotations" / "trimaps" / f"{photo.stem}.png", self.masks / f"{stem}.png")

    @property
    def options(self) -> list[str]:
        return ["--images", str(self.images), "--masks", str(self.masks)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("schedule"))


@pytest.fixture(scope="module")
def inbox(bench):
    inbox = Inbox(bench.folder / "inbox")
    inbox.grow(seed=17)
    return inbox


@pytest.fixture(scope="module")
def workspace(bench):
    return Workspace.at(str(bench.workspace))


def test_sigterm_in_a_run_ends_the_schedule_and_all_that_it_started(bench, inbox, workspace):
    bench.sections = {"training": TINY["training"] | {"steps": 1_000_000}}
    # What a schedule leaves that was not there on Monday.
    write_state(workspace, State(cron=MONDAYS, next_tick=MISSED))
    command = bench.command("schedule", "--cron", MONDAYS, *inbox.options, "--config", bench.config)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not list(bench.workspace.glob("pipeline_root/*")):
            assert running.poll() is None, running.communicate()
            time.sleep(0.1)
        second = bench.segpipe("schedule", "--once", status=1)
        assert "has a segpipe schedule that runs already" in second.stderr
        assert bench.status()["schedule"]["alive"]
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGTERM)
        stdout, stderr = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert (running.returncode, stderr) == (0, "segpipe: stopped by SIGTERM; start it again to go on\n")
    assert "the tick of 2020-01-06 03:00:00 was missed, and is made up for now" in stdout
    assert started and not [process for process in started if _runs(process)]
    assert not workspace.is_held()
    assert (read_state(workspace).next_tick, bench.status()["schedule"]["alive"]) == (MISSED, False)


def _runs(process: psutil.Process) -> bool:
    try:
        # What is dead waits for whoever adopted it to take note.
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def weeks(warm, bench, inbox, workspace):
    """Five ticks and one retry; returns the clock, what was said, the events and the last attempt of each wait."""
    bench.sections = {}
    config, hidden, attempts = bench.config, inbox.masks.with_name("elsewhere"), []

    def remember() -> None:
        attempts.append(read_state(workspace).last)

    def grow_and_raise_the_gate() -> None:
        remember()
        inbox.grow(seed=18)
        bench.sections = {"gate": OPEN_GATE | {"min_mean_iou": 0.99}}
        assert bench.config == config

    def grow_and_lose_the_masks() -> None:
        remember()
        inbox.grow(seed=19)
        bench.sections = {}
        assert bench.config == config
        inbox.masks.rename(hidden)

    def find_the_masks() -> None:
        remember()
        hidden.rename(inbox.masks)

    clock = SetClock(
        MISSED + 24 * 3600, lambda: None, remember, grow_and_raise_the_gate, grow_and_lose_the_masks, find_the_masks
    )

    def segpipe(arguments: list[str]) -> subprocess.CompletedProcess:
        process = warm.segpipe(bench, *arguments)
        return subprocess.CompletedProcess(arguments, process.wait(), process.stdout, process.stderr)

    retrain = Retraining(workspace, Folders(str(inbox.images), str(inbox.masks)), str(config), segpipe)
    said = []
    with only_schedule(workspace), hooked() as hook, pytest.raises(Over):
        Schedule(workspace, MONDAYS, retrain, said.append, hook.url, clock).keep()
    remember()
    return clock, said, hook.events, attempts


def test_it_wakes_at_each_tick_and_once_more_after_the_failure(weeks):
    clock = weeks[0]
    assert clock.waited == [MISSED, SECOND, THIRD, FOURTH, FOURTH + 60, FIFTH]


def test_new_photos_are_ingested_trained_on_and_pushed(weeks, workspace, bench):
    first = weeks[3][0]
    assert (first.verdict, first.span) == ("pushed", 1)
    assert bench.versions()[0] == str(first.version)
    assert os.path.isfile(first.report)


def test_without_new_photos_nothing_runs_and_that_is_said(weeks, bench):
    first, second = weeks[3][:2]
    assert (second.verdict, second.run_id) == ("skipped", None)
    assert f"2020-01-13 03:00:00 nothing new: run {first.run_id} finished on span 1, the newest" in weeks[1]


def test_what_the_gate_refuses_reaches_the_webhook_and_is_not_tried_again(weeks, bench):
    third = weeks[3][2]
    assert (third.verdict, third.span, third.exit_status) == ("refused", 2, 3)
    refused = weeks[2][0]
    assert (refused["event"], refused["run_id"], refused["step"]) == ("refused", third.run_id, "run")
    assert "mean_iou" in refused["text"] and refused["retry_at"] is None
    assert bench.status()["live_version"] != third.version


def test_a_failure_reaches_the_webhook_and_the_retry_compares_with_the_blessed_model_and_pushes(weeks, bench):
    fourth, retried = weeks[3][3:]
    assert (fourth.verdict, fourth.step, fourth.exit_status) == ("failed", "ingest", 2)
    (failed,) = weeks[2][1:]
    assert failed["event"] == "failed" and "masks: no such folder" in failed["text"]
    assert failed["retry_at"] == FOURTH + 60
    assert (retried.verdict, retried.number, retried.span) == ("pushed", 2, 3)
    run = bench.status()["runs"][-1]
    assert run["run_id"] == retried.run_id and run["baseline"]["photos"] == run["metrics"]["photos"]
    assert bench.status()["live_version"] == retried.version


def test_each_span_holds_only_what_was_new(weeks, workspace):
    assert list_spans(workspace.data) == [1, 2, 3]
    assert [read_manifest(workspace.data, span).photos_found for span in (1, 2, 3)] == [32, 32, 32]


def test_once_is_a_retraining_for_cron(weeks, bench, inbox):
    done = bench.segpipe("schedule", "--once", *inbox.options, "--config", bench.config)
    assert "finished on span 3, the newest" in done.stdout
    inbox.grow(seed=20)
    next(inbox.masks.glob("*020.png")).unlink()
    bench.sections = {"data": {"max_quarantine": 0.0}}
    done = bench.segpipe("schedule", "--once", *inbox.options, "--config", bench.config, status=3)
    assert "1 of 32 photos are quarantined (1 no_mask)" in done.stderr
    assert json.loads((bench.workspace / "schedule.json").read_text())["last"]["verdict"] == "refused"
