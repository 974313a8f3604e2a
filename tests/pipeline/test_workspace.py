"""One writer per workspace, across processes and their deaths."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.errors import SegpipeError
from pipeline.workspace import Workspace

HOLD = """
import sys
from pipeline.workspace import Workspace
with Workspace.at(sys.argv[1]).writer(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
TRY = """
import sys
from pipeline.workspace import Workspace
with Workspace.at(sys.argv[1]).writer("run"):
    print("held")
"""


@contextmanager
def holder(workspace: Path, doing: str = "ingest"):
    """Another process that holds the lock; its input stays open for as long as it is to hold it."""
    command = [sys.executable, "-c", HOLD, str(workspace), doing]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def attempt(workspace: Path) -> subprocess.CompletedProcess:
    """A further writer in a process of its own. Were it to wait for the holder, it would never end by itself."""
    return subprocess.run([sys.executable, "-c", TRY, str(workspace)], capture_output=True, text=True, timeout=60)


def test_every_path_is_absolute_and_in_the_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.at("here")
    names = ("data", "pipeline_root", "metadata", "serving", "reports", "logs", "schemas")
    paths = [getattr(workspace, name) for name in names]
    assert {os.path.dirname(path) for path in paths} == {str(tmp_path / "here")}
    assert len(set(paths)) == len(paths)


def test_a_writer_that_waits_writes_when_the_first_has_ended(tmp_path):
    with holder(tmp_path) as process:
        own = Workspace.at(str(tmp_path))
        with pytest.raises(SegpipeError, match="is in use by segpipe ingest"), own.writer("plan", wait=0.2):
            pass
        threading.Timer(0.3, process.kill).start()
        with own.writer("plan", wait=60):
            assert process.wait(timeout=60) == -signal.SIGKILL


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path):
    with holder(tmp_path, "ingest") as process:
        second = attempt(tmp_path)
        assert second.returncode == 1
        assert f"{tmp_path} is in use by segpipe ingest (process {process.pid})" in second.stderr
        assert "held" not in second.stdout


def test_this_process_is_refused_too(tmp_path):
    with holder(tmp_path, "run"), pytest.raises(SegpipeError, match="is in use by segpipe run") as refusal:  # noqa: SIM117
        with Workspace.at(str(tmp_path)).writer("ingest"):
            pytest.fail("two writers at once")
    assert refusal.value.exit_status == 1


def test_a_second_writer_in_one_process_is_refused(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    with workspace.writer("run"), pytest.raises(SegpipeError, match=f"process {os.getpid()}"):  # noqa: SIM117
        with workspace.writer("run"):
            pytest.fail("two writers at once")


def test_a_refused_writer_does_not_set_the_holder_free(tmp_path):
    with holder(tmp_path):
        assert attempt(tmp_path).returncode == 1
        assert attempt(tmp_path).returncode == 1


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_writer_leaves_no_lock(tmp_path, deadly):
    with holder(tmp_path) as process:
        process.send_signal(deadly)
        process.wait()
        assert attempt(tmp_path).stdout == "held\n"


def test_a_writer_that_ends_frees_the_workspace_for_the_next(tmp_path):
    for _ in range(2):
        with Workspace.at(str(tmp_path)).writer("run"):
            pass
    assert attempt(tmp_path).stdout == "held\n"


def test_a_writer_that_fails_frees_the_workspace(tmp_path):
    with pytest.raises(RuntimeError), Workspace.at(str(tmp_path)).writer("run"):
        raise RuntimeError
    assert attempt(tmp_path).stdout == "held\n"


def test_two_workspaces_do_not_disturb_each_other(tmp_path):
    with holder(tmp_path / "one"):
        assert attempt(tmp_path / "two").stdout == "held\n"


@pytest.mark.parametrize("record", [None, "", "{}"], ids=["gone", "empty", "no fields"])
def test_a_refusal_is_a_sentence_even_if_the_holder_left_no_record(tmp_path, record):
    with holder(tmp_path):
        path = tmp_path / ".lock.json"
        path.unlink() if record is None else path.write_text(record)
        with (
            pytest.raises(SegpipeError, match="is in use by another segpipe"),
            Workspace.at(str(tmp_path)).writer("run"),
        ):
            pytest.fail("two writers at once")


def test_readers_can_tell_whether_a_writer_is_alive(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    assert not workspace.is_held()
    with workspace.writer("run"):
        assert workspace.is_held()
    assert not workspace.is_held()
    with holder(tmp_path) as process:
        assert workspace.is_held()
        process.kill()
        process.wait()
        # It could not take its note away; the note of a dead process counts for nothing.
        assert not workspace.is_held()


def test_asking_whether_it_is_held_makes_no_workspace(tmp_path):
    assert not Workspace.at(str(tmp_path / "none")).is_held()
    assert not (tmp_path / "none").exists()


def test_the_note_of_a_dead_writer_whose_number_another_process_has_counts_for_nothing(tmp_path):
    # A container that is started again numbers its processes from 1 again.
    with holder(tmp_path):
        note = json.loads((tmp_path / ".lock.json").read_text())
    (tmp_path / ".lock.json").write_text(json.dumps(note | {"pid": os.getpid()}))
    assert not Workspace.at(str(tmp_path)).is_held()


def test_a_dead_writer_that_nobody_took_note_of_counts_for_nothing(tmp_path):
    with holder(tmp_path) as process:
        process.kill()
        # It stays a zombie until it is waited for, which some containers never do.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not Workspace.at(str(tmp_path)).is_held()
