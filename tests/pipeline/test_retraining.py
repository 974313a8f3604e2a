"""When a retraining runs, by what is in the workspace, and what it makes of how commands end."""

import json
import subprocess

import pytest

from pipeline.retraining import Retraining
from pipeline.workspace import Workspace

PUSHED = {"verdict": "pushed", "run_id": "r2", "version": 9, "report": None, "reasons": []}


class Commands:
    """Answers as `segpipe` does, and remembers what was called."""

    def __init__(self, runs: list[dict], status: int = 0, stdout: str = json.dumps(PUSHED), stderr: str = ""):
        self.called, self._runs, self._run = [], runs, (status, stdout, stderr)

    def __call__(self, arguments: list[str]) -> subprocess.CompletedProcess:
        self.called.append(arguments[0])
        answer = self._run if arguments[0] == "run" else (0, json.dumps({"runs": self._runs}), "")
        return subprocess.CompletedProcess(arguments, *answer)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """Spans 1 to 3."""
    for number in (1, 2, 3):
        (tmp_path / "w" / "data" / f"span-{number}").mkdir(parents=True)
    return Workspace.at(str(tmp_path / "w"))


def run(verdict: str, *spans: int) -> dict:
    return {"run_id": "r1", "verdict": verdict, "spans": list(spans)}


@pytest.mark.parametrize(
    ("runs", "golden", "verdict"),
    [
        ([], None, "pushed"),
        ([run("pushed", 1, 2)], None, "pushed"),
        ([run("failed", 2, 3)], None, "pushed"),
        ([run("interrupted")], None, "pushed"),
        ([run("refused", 2, 3), run("pushed", 1)], None, "skipped"),
        ([run("unchanged", 3)], None, "skipped"),
        ([run("blessed", 3)], None, "skipped"),
        # No run trains on the golden span, so that it is never new.
        ([run("pushed", 1, 2)], 3, "skipped"),
        ([run("pushed", 1)], 3, "pushed"),
    ],
)
def test_it_runs_where_no_run_finished_on_the_newest_span(tmp_path, workspace, runs, golden, verdict):
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"data": {"golden_span": golden}}))
    commands = Commands(runs)
    outcome = Retraining(workspace, None, str(config), commands)()
    assert (outcome.verdict, outcome.span) == (verdict, 2 if golden else 3)
    assert ("run" in commands.called) == (verdict == "pushed")


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "verdict", "message"),
    [
        (1, json.dumps({"error": "Trainer failed", "exit_status": 1}), "", "failed", "failed: Trainer failed"),
        (3, json.dumps({"reasons": ["a", "b"], "run_id": "r2"}), "", "refused", "refused: a; b"),
        (2, "", "Usage:\n\nError: no such option\n", "failed", "failed: segpipe run: Error: no such option"),
        (-9, "", "", "failed", "failed: segpipe run: was killed by signal 9"),
        (0, "no json", "", "failed", "failed: segpipe run: it said nothing"),
    ],
)
def test_each_end_of_a_command_is_told_in_a_sentence(workspace, status, stdout, stderr, verdict, message):
    outcome = Retraining(workspace, None, None, Commands([], status, stdout, stderr))()
    assert (outcome.verdict, outcome.message) == (verdict, message)
    assert outcome.exit_status == (status or 1)
