"""The systemd unit and the crontab line: systemd takes the one, and `segpipe schedule` takes what both call."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.cli_schedule import schedule
from pipeline.cron import check_cron

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "segpipe-schedule.service"


def parsed(command: str) -> dict:
    """The options that `segpipe schedule` sees."""
    program, name, *options = shlex.split(command)
    assert (program, name) == ("/opt/segpipe/.venv/bin/segpipe", "schedule")
    return schedule.make_context("schedule", options).params


def unit_values() -> dict[str, str]:
    text = UNIT.read_text().replace("\\\n", "")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_the_unit_calls_a_schedule_and_leaves_the_secret_to_it():
    options = parsed(unit_values()["ExecStart"].replace("$$", "$"))
    assert check_cron(options["cron"]) and not options["once"]
    assert options["images"] and options["masks"]
    assert options["webhook"] == "https://hooks.example/services/${HOOK_TOKEN}"


def test_the_crontab_calls_one_retraining_and_holds_nothing_that_cron_reads_otherwise():
    (line,) = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    *moment, command = line.split(maxsplit=5)
    assert check_cron(" ".join(moment))
    # To cron a percent sign is the end of the line.
    assert "%" not in command
    assert parsed(command.partition(" && ")[2])["once"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path):
    text = UNIT.read_text().replace("/opt/segpipe/.venv/bin/segpipe", shutil.which("true"))
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("User=segpipe", "User=root"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    own = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, own) == (0, []), done.stderr
