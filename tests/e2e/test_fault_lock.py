"""Two writers in one workspace, whoever started them: the second is refused at once and told who the first is; the lock
goes with its holder, neither later with a child of it nor earlier with a worker.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from warm import STALL, at_start
from workbench import BIN, REPOSITORY, Bench, beam_workers, drawn

from pipeline.records import list_runs
from pipeline.workspace import Workspace

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("lock"))
    bench.ingest(drawn(bench.folder / "drawn"))
    return bench


def _ingest_command(bench) -> tuple:
    drawing = bench.folder / "drawn"
    masks = drawing / "annotations" / "trimaps"
    return ("ingest", "--images", drawing / "images", "--masks", masks, "--config", bench.config)


@contextlib.contextmanager
def _running(process) -> Iterator[None]:
    """A run that is in a component until the end of the block."""
    try:
        process.wait_for_fault()
        yield
    finally:
        process.kill()
        process.wait()


def _run(bench, *arguments) -> tuple:
    return ("run", "--config", bench.config, *arguments)


def _holder(warm, bench, how: str):
    fault = at_start("StatisticsGen", STALL)
    if how == "tfx":
        return warm.local_runner(bench, fault)
    return warm.segpipe(bench, *_run(bench, "--engine", how), fault=fault)


@pytest.mark.parametrize("how", ["local", "beam", "tfx"])
def test_whoever_comes_second_is_refused_and_told_who_is_first(warm, bench, how):
    with _running(process := _holder(warm, bench, how)):
        runs = len(list_runs(str(bench.workspace / "metadata.db")))
        sentence = f"segpipe: {bench.workspace} is in use by segpipe run (process {process.pid}); wait for it"
        commands = [_run(bench), _run(bench, "--engine", "beam"), _ingest_command(bench)]
        seconds = [warm.segpipe(bench, *command) for command in commands] + [warm.local_runner(bench)]
        for second in seconds:
            assert second.wait() == 1
            assert second.stderr.strip().splitlines()[-1].startswith(sentence)
            assert "Traceback" not in second.stdout + second.stderr
        assert len(list_runs(str(bench.workspace / "metadata.db"))) == runs
    # The lock went with the holder.
    with Workspace.at(str(bench.workspace)).writer("run"):
        pass


def test_a_second_run_by_the_tfx_command_itself_is_refused(tmp_path, bench):
    environment = {
        "PATH": str(BIN),
        "HOME": str(tmp_path),
        "SEGPIPE_WORKSPACE": str(bench.workspace),
        "SEGPIPE_CONFIG": str(bench.config),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

    def tfx(*arguments) -> subprocess.CompletedProcess:
        command = [BIN / "tfx", *arguments, "--engine", "local"]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    created = tfx("pipeline", "create", "--pipeline-path", str(REPOSITORY / "pipeline" / "local_runner.py"))
    assert created.returncode == 0, created.stdout + created.stderr
    with Workspace.at(str(bench.workspace)).writer("bless"):
        done = tfx("run", "create", "--pipeline-name", "segpipe")
    assert done.returncode != 0
    sentence = f"{bench.workspace} is in use by segpipe bless (process {os.getpid()}); wait for it"
    assert sentence in done.stdout + done.stderr


FORKS = """
import os, sys, time
from pipeline.workspace import Workspace
with Workspace.at(sys.argv[1]).writer("run"):
    child = os.fork()
    if not child:
        time.sleep(3600)
    print(child, flush=True)
    sys.stdin.read()
"""


def _attempt(workspace) -> bool:
    """Whether a further writer gets in."""
    code = "import sys; from pipeline.workspace import Workspace\nwith Workspace.at(sys.argv[1]).writer('run'): pass"
    done = subprocess.run([sys.executable, "-c", code, str(workspace)], capture_output=True, text=True)
    assert done.returncode == 0 or "is in use by segpipe" in done.stderr, done.stderr
    return done.returncode == 0


def test_a_forked_child_neither_keeps_the_lock_nor_releases_it(tmp_path):
    for killed_first in ("holder", "child"):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", FORKS, str(tmp_path)], text=True, **pipes)
        child = int(process.stdout.readline())
        try:
            assert not _attempt(tmp_path)
            if killed_first == "child":
                # It ends as Python ends, with all its clean-up.
                os.kill(child, signal.SIGTERM)
                while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.01)
                assert not _attempt(tmp_path)
            else:
                process.kill()
                process.wait()
                assert psutil.pid_exists(child)
                assert _attempt(tmp_path)
        finally:
            process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            process.communicate()


def test_beams_worker_processes_have_no_part_in_the_lock(warm, bench):
    usual, bench.sections = bench.sections, bench.sections | {"beam": {"default": {"direct_num_workers": 2}}}
    process = warm.segpipe(bench, *_ingest_command(bench), "--span", "7")
    bench.sections = usual
    try:
        while not (workers := _workers(process.pid)):
            assert process.poll() is None, process.stderr
            time.sleep(0.01)
        for worker in workers:
            worker.suspend()
        # Killing one does not set the workspace free ...
        workers[0].kill()
        assert not _attempt(bench.workspace)
        # ... and one that outlives the holder does not keep it.
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert _attempt(bench.workspace)
        assert any(worker.is_running() for worker in workers[1:])
    finally:
        process.kill()


def _workers(pid: int) -> list[psutil.Process]:
    """The processes of Beam's workers, once there are both."""
    workers = beam_workers(pid)
    return workers if len(workers) == 2 else []
