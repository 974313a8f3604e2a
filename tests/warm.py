"""`segpipe` in processes forked from one that has imported TensorFlow and TFX, so that a run costs seconds.

    warm = warm_server()
    run = warm.segpipe(bench, "run", "--config", bench.config, fault=at_end("Trainer", KILL))
    assert run.wait() == -signal.SIGKILL

What is forked is a process like any other: it leads a group of its own, takes real signals and dies a real death. A
fault is something that happens to it at a given moment; nothing in the code under test knows of it.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

KILL = "SIGKILL"
TO_GROUP, TO_PROCESS = "SIGINT", "SIGTERM"
"""Ctrl-C reaches every process of a terminal's group; `kill` reaches one."""
PACKAGES = ("pipeline", "components", "trainer", "schema")
STALL = "stall"
"""Sleeps for longer than any test, wherever the moment is."""

_STARTS, _ENDS = "Going to run a new execution: %s", "Execution %d succeeded."
_RESOLVED = "[%s] Resolved inputs: %s"
_RUNNING = ("Component %s is running.", "node %s is running.")


def at_start(node: str, *does: str) -> dict:
    """When a node's executor is about to start."""
    return {"node": node, "message": _STARTS, "does": does}


def at_end(node: str, *does: str) -> dict:
    """When a node's executor is through, and MLMD does not know it yet."""
    return {"node": node, "message": _ENDS, "does": does}


def at_resolution(node: str, *does: str) -> dict:
    """When a node knows its inputs; a resolver does nothing else."""
    return {"node": node, "message": _RESOLVED, "does": does}


IN_TRANSFORM = r"/Transform/transformed_examples/"
"""Files that a Beam stage of Transform writes."""


def before(event: str, path: str, *does: str, count: int = 1) -> dict:
    """Before the count-th audit event of Python whose first argument is a path that matches."""
    return {"event": event, "path": path, "count": count, "does": does}


class Process:
    """A forked command, with what it wrote."""

    def __init__(self, server: "Warm", pid: int, folder: str):
        self._server, self.pid, self._folder = server, pid, Path(folder)

    @property
    def stdout(self) -> str:
        return (self._folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._folder / "stderr").read_text()

    def has_met_fault(self) -> bool:
        return (self._folder / "met").exists()

    def wait_for_fault(self) -> None:
        while not self.has_met_fault():
            assert self.poll() is None, f"it ended before the fault\n{self.stdout}\n{self.stderr}"
            time.sleep(0.1)

    def poll(self) -> int | None:
        return self._server.ask({"poll": self.pid})

    def wait(self, seconds: float = 600) -> int:
        """The exit status, negative for a signal. Whatever still runs after the seconds fails the test."""
        # Asking fifty times a second takes a third of a small machine from the run.
        ended = os.pidfd_open(self.pid)
        try:
            if not select.select([ended], [], [], seconds)[0]:
                self.kill()
                raise AssertionError(f"still running after {seconds} s\n{self.stdout}\n{self.stderr}")
        finally:
            os.close(ended)
        return self.poll()

    def group(self) -> list[int]:
        """What there is of its process group: it, its children and theirs, also where it has ended itself."""
        return [pid for pid in psutil.pids() if _group(pid) == self.pid]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


class Warm:
    """The process to fork from."""

    def __init__(self):
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            # SIGINT is ignored in what a shell starts in the background, and children would inherit that.
            ["env", "--default-signal=INT,TERM", sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self._started: list[Process] = []
        self._asking = threading.Lock()
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, question: dict) -> int | None:
        with self._asking:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def segpipe(self, bench, *arguments, fault: dict | None = None) -> Process:
        """Starts `segpipe` on a bench's workspace, in its folder and with this process's environment."""
        command = [str(argument) for argument in arguments] + ["--workspace", str(bench.workspace)]
        question = {"segpipe": command, "environment": dict(os.environ), "cwd": str(bench.folder)}
        if bench.source is not None:
            question["source"] = str(bench.source)
            question["environment"]["PYTHONPATH"] = str(bench.source)
        return self._start(question, fault)

    def local_runner(self, bench, fault: dict | None = None) -> Process:
        """Starts what `tfx run create` starts: pipeline/local_runner.py as a script."""
        environment = {"SEGPIPE_WORKSPACE": str(bench.workspace), "SEGPIPE_CONFIG": str(bench.config)}
        return self._start({"environment": environment}, fault)

    def module(self, command: list[str], environment: dict[str, str], folder: Path, log: Path) -> Process:
        """Starts what `python -m` starts.

        Args:
          command: the module and its arguments.
          environment: all of it.
          folder: to start in.
          log: file that gets both outputs.
        """
        log.touch()
        return self._start({"module": command, "environment": environment, "cwd": str(folder), "log": str(log)}, None)

    def run(self, bench, *arguments, status: int = 0, fault: dict | None = None) -> Process:
        """Runs the pipeline to its end and insists on the exit status."""
        process = self.segpipe(bench, "run", "--config", bench.config, *arguments, fault=fault)
        found = process.wait()
        assert found == status, f"exit {found}\n{process.stdout}\n{process.stderr}"
        return process

    def _start(self, what: dict, fault: dict | None) -> Process:
        folder = tempfile.mkdtemp(prefix="segpipe-test-")
        pid = self.ask(what | {"folder": folder, "fault": fault})
        self._started.append(Process(self, pid, folder))
        return self._started[-1]

    def close(self) -> None:
        for process in self._started:
            process.kill()
        self._process.stdin.close()
        self._process.wait()


@functools.cache
def warm_server() -> Warm:
    """One for all tests of this process."""
    server = Warm()
    atexit.register(server.close)
    return server


class _Fault(logging.Handler):
    """Waits for its moment in TFX's log."""

    def __init__(self, fault: dict, met: str):
        super().__init__(logging.INFO)
        self._fault, self._met, self._node = fault, met, None

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg in _RUNNING:
            self._node = record.args[0]
        elif record.msg == self._fault["message"] and self._node == self._fault["node"]:
            self.happen()

    def happen(self) -> None:
        with open(self._met, "w"):
            pass
        for what in self._fault["does"]:
            if what == STALL:
                time.sleep(3600)
            elif what == TO_GROUP:
                os.killpg(0, signal.SIGINT)
            else:
                os.kill(os.getpid(), signal.Signals[what])


def _prepare(fault: dict, met: str) -> None:
    if "node" in fault:
        logging.getLogger("absl").addHandler(_Fault(fault, met))
        return
    handler, left = _Fault(fault, met), [fault["count"]]

    def hook(event: str, arguments: tuple) -> None:
        if event == fault["event"] and re.search(fault["path"], str(arguments[0])):
            left[0] -= 1
            if left[0] == 0:
                handler.happen()

    sys.addaudithook(hook)


def _import_from(source: str) -> None:
    """Forgets the packages of the installed source tree, so that they are imported from another, and compiled there."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.path.insert(0, source)
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ


def _become(question: dict) -> None:
    """Turns a forked process into the command."""
    os.setsid()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        path = question.get("log") or os.path.join(question["folder"], name)
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, descriptor)
        os.close(target)
    if "cwd" in question:
        os.environ.clear()
        os.environ.update(question["environment"])
        os.chdir(question["cwd"])
    if "source" in question:
        _import_from(question["source"])
    if question["fault"]:
        _prepare(question["fault"], os.path.join(question["folder"], "met"))
    if "segpipe" in question:
        from pipeline.cli import main

        sys.argv = ["segpipe"]
        main(question["segpipe"])
    elif "module" in question:
        sys.argv = question["module"]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        from pipeline import local_runner

        os.environ.update(question["environment"])
        sys.argv = ["local_runner.py"]
        local_runner.main()


def _serve() -> None:
    # The last is what draws pictures for the report.
    for module in ("pipeline.dag", "pipeline.launching", "trainer.train", "components.run_report.comparison"):
        importlib.import_module(module)

    # Else every collection of a forked process walks, and so copies, all that was imported.
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "poll" in question:
            pid, status = os.waitpid(question["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        pid = os.fork()
        if not pid:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            # Whatever the command raises ends it as it would end a script.
            _become(question)
            sys.exit(0)
        print(json.dumps(pid), flush=True)


if __name__ == "__main__":
    _serve()
