"""The loop of a schedule with a clock that a test moves: ticks, back-off, what was missed, who is told."""

import json
import os
import subprocess
import sys
from datetime import datetime

import pytest
from click.testing import CliRunner
from hook_server import hooked
from set_clock import Over, SetClock

from components.errors import SegpipeError, UsageError
from pipeline.cli import main
from pipeline.schedule import Schedule, only_schedule
from pipeline.schedule_state import Outcome, State, read_state, write_state
from pipeline.workspace import Workspace

MONDAYS = "0 3 * * 1"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


START = at("2026-11-25 12:00")
FIRST, SECOND, THIRD = (at(f"{day} 03:00") for day in ("2026-11-30", "2026-12-07", "2026-12-14"))


def outcome(verdict: str) -> Outcome:
    status = {"refused": 3, "failed": 1, "busy": 1}.get(verdict, 0)
    return Outcome(verdict=verdict, step="run", message=f"{verdict}: because", exit_status=status)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace.at(str(tmp_path / "w"))


def keep(workspace, verdicts, start=START, cron=MONDAYS, hook=None, takes=600):
    """Keeps a schedule whose attempts end with the verdicts; returns what it waited for, and what it said."""
    clock, said, left = SetClock(start, *[lambda: None] * len(verdicts)), [], list(verdicts)

    def retrain() -> Outcome:
        clock.passes(takes)
        found = left.pop(0)
        if isinstance(found, BaseException):
            raise found
        return outcome(found)

    schedule = Schedule(workspace, cron, retrain, said.append, hook, clock)
    with pytest.raises(Over):
        schedule.keep()
    assert not left
    return clock.waited, said


def test_each_tick_retrains_once(workspace):
    waited, said = keep(workspace, ["pushed", "skipped"])
    assert waited == [FIRST, SECOND, THIRD]
    assert said[0] == f"2026-11-25 12:00:00 schedule {MONDAYS} on {workspace.root}: next 2026-11-30 03:00:00"
    assert "2026-11-30 03:10:00 pushed: because" in said and "2026-12-07 03:10:00 skipped: because" in said


@pytest.mark.parametrize("problem", ["failed", "busy", OSError("no memory"), UsageError("folder x: no such folder")])
def test_a_failure_is_tried_again_after_pauses_that_double_until_it_passes(workspace, problem):
    waited, said = keep(workspace, [problem, problem, problem, "pushed"], takes=0)
    assert waited == [FIRST, FIRST + 60, FIRST + 180, FIRST + 420, SECOND]
    assert "2026-11-30 03:07:00 retraining, attempt 4" in said
    state = read_state(workspace)
    assert (state.last.number, state.attempts, state.retry_at) == (4, 0, None)


def test_what_keeps_failing_waits_six_hours_at_most_and_begins_anew_at_the_next_tick(workspace):
    waited, _ = keep(workspace, ["failed"] * 60, takes=0)
    first_week = [moment for moment in waited if moment <= SECOND]
    pauses = [later - earlier for earlier, later in zip(first_week, first_week[1:], strict=False)]
    assert pauses[:9] == [60 * 2**n for n in range(9)] and max(pauses) == 6 * 3600
    assert first_week[-1] == SECOND and SECOND + 60 in waited


def test_a_refusal_waits_for_the_next_tick(workspace):
    waited, _ = keep(workspace, ["refused", "pushed"])
    assert waited == [FIRST, SECOND, THIRD]


def test_ticks_that_pass_during_a_retraining_are_left_out(workspace):
    waited, _ = keep(workspace, ["pushed"], takes=10 * 24 * 3600)
    assert waited == [FIRST, THIRD]


@pytest.mark.parametrize("cron", [MONDAYS, "0 4 1 1 *"], ids=["same", "another"])
def test_ticks_that_nobody_was_there_for_are_made_up_for_once(workspace, cron):
    keep(workspace, [])
    waited, said = keep(workspace, ["pushed"], start=at("2026-12-10 09:00"), cron=cron)
    assert waited == [FIRST, THIRD if cron == MONDAYS else at("2027-01-01 04:00")]
    assert said[0] == "2026-12-10 09:00:00 the tick of 2026-11-30 03:00:00 was missed, and is made up for now"
    assert "2026-12-10 09:10:00 pushed: because" in said


def test_a_schedule_that_was_killed_in_a_retraining_makes_up_for_it(workspace):
    class Killed(BaseException):
        pass

    with pytest.raises(Killed):
        keep(workspace, [Killed()])
    waited, _ = keep(workspace, ["pushed"], start=FIRST + 7200)
    assert waited == [FIRST, SECOND]


def test_a_new_schedule_makes_up_for_nothing_and_a_pending_retry_survives_a_restart(workspace):
    keep(workspace, ["failed"])
    waited, _ = keep(workspace, ["pushed"], start=FIRST + 620)
    assert waited == [FIRST + 660, SECOND]
    assert read_state(workspace).last.number == 2


def test_refusals_and_failures_are_posted_and_nothing_else(workspace):
    with hooked() as hook:
        keep(workspace, ["pushed", "skipped", "unchanged", "busy", "failed", "refused"], hook=hook.url)
    failed, refused = hook.events
    assert (failed["event"], failed["exit_status"], failed["number"]) == ("failed", 1, 2)
    assert failed["retry_at"] == failed["ended"] + 120
    assert refused["text"] == f"segpipe run in {workspace.root} refused: because"
    assert (refused["event"], refused["workspace"], refused["retry_at"]) == ("refused", workspace.root, None)


def test_a_webhook_that_is_down_changes_nothing_but_is_said(workspace):
    with hooked() as hook:
        pass
    waited, said = keep(workspace, ["refused", "pushed"], hook=hook.url)
    assert waited == [FIRST, SECOND, THIRD]
    assert any("not delivered (ConnectionError); the schedule goes on" in line for line in said)


def test_a_state_that_cannot_be_written_is_said_and_the_schedule_goes_on(workspace):
    keep(workspace, [])
    os.mkdir(workspace.schedule + ".part")
    waited, said = keep(workspace, ["pushed", "pushed"])
    assert waited == [FIRST, SECOND, THIRD]
    assert any("schedule.json: Is a directory; not remembered, the schedule goes on" in line for line in said)


def test_a_workspace_has_one_schedule_at_a_time(workspace):
    with (
        only_schedule(workspace),
        pytest.raises(SegpipeError, match="has a segpipe schedule that runs already"),
        only_schedule(workspace),
    ):
        pytest.fail("two schedules at once")


def segpipe(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_status_shows_what_is_planned_and_what_became_of_the_last(workspace):
    keep(workspace, ["failed"])
    shown = segpipe("status", "--workspace", workspace.root).stdout.splitlines()
    assert shown[0] == f"schedule {MONDAYS}: next 2026-12-07 03:00:00, tries again 2026-11-30 03:11:00"
    assert shown[1] == "last scheduled retraining 2026-11-30 03:00:00, attempt 1: failed: because"
    told = json.loads(segpipe("status", "--json", "--workspace", workspace.root).stdout)["schedule"]
    assert (told["cron"], told["alive"], told["retry_at"]) == (MONDAYS, True, FIRST + 660)
    assert (told["last"]["verdict"], told["last"]["exit_status"]) == ("failed", 1)


def test_status_says_that_nobody_keeps_a_schedule_whose_process_is_gone(workspace):
    gone = subprocess.Popen(["true"])
    gone.wait()
    write_state(workspace, State(cron=MONDAYS, next_tick=FIRST, process={"pid": gone.pid, "started": "1"}))
    assert "nobody keeps it now" in segpipe("status", "--workspace", workspace.root).stdout
    assert not json.loads(segpipe("status", "--json", "--workspace", workspace.root).stdout)["schedule"]["alive"]


def test_a_damaged_state_is_one_sentence(workspace):
    write_state(workspace, State())
    with open(workspace.schedule, "w") as file:
        file.write("{")
    result = segpipe("schedule", "--once", "--workspace", workspace.root)
    assert result.exit_code == 1
    assert "schedule.json: is damaged; remove it" in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "give either --cron"),
        (["--cron", MONDAYS, "--once"], "give either --cron"),
        (["--cron", "61 * * * *"], "--cron '61 * * * *': is no cron expression"),
        (["--cron", MONDAYS, "--images", "gone", "--masks", "."], "--images gone: no such folder"),
        (["--cron", MONDAYS, "--images", ".", "--masks", "gone"], "--masks gone: no such folder"),
        (["--cron", MONDAYS, "--images", "."], "--masks"),
        (["--cron", MONDAYS, "--config", "gone.yaml"], "--config gone.yaml: No such file"),
        (["--cron", MONDAYS, "--webhook", "https://h/${NOT_SET}"], "NOT_SET is not set"),
        (["--cron", MONDAYS, "--engine", "mars"], "--engine"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    result = segpipe("schedule", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_once_without_photos_says_so_and_is_fine(workspace, tmp_path):
    (tmp_path / "photos").mkdir()
    folders = ("--images", tmp_path / "photos", "--masks", tmp_path / "photos")
    result = segpipe("schedule", "--once", *folders, "--workspace", workspace.root)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].endswith(f"nothing new: {workspace.data} holds no span yet")


def test_once_in_a_workspace_that_is_in_use_is_exit_status_1_and_names_the_holder(workspace):
    with workspace.writer("run"):
        result = segpipe("schedule", "--once", "--workspace", workspace.root)
    assert result.exit_code == 1
    assert f"segpipe: {workspace.root} is in use by segpipe run (process " in result.stderr


def test_the_process_that_waits_for_a_week_holds_no_heavy_library():
    script = (
        "import sys, pipeline.cron, pipeline.retraining, pipeline.schedule\n"
        "from pipeline.config import load_config\n"
        "load_config(None)\n"
        "print({'tensorflow', 'tfx', 'apache_beam', 'ml_metadata'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
