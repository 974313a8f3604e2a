"""One retraining: ingest what is new, and run if that made a span that no run has finished on.

Each command is a process of its own: TFX and TensorFlow leave memory behind, and what starts anew takes the code and
the config as they are then.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.errors import RefusedError
from components.ingest.sources import photo_files
from components.ingest.spans import list_spans
from pipeline.config import load_config
from pipeline.schedule_state import Outcome
from pipeline.stopping import end, stoppable
from pipeline.workspace import Workspace

_FINISHED = {"pushed", "unchanged", "refused", "blessed"}
"""Verdicts of runs that need no other run on the same spans."""


def run_segpipe(arguments: list[str]) -> subprocess.CompletedProcess:
    """Runs `segpipe` in a process of its own, to its end. Ctrl-C is for who waits for it."""
    command = [sys.executable, os.path.join(os.path.dirname(sys.executable), "segpipe"), *arguments]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
    )


@contextlib.contextmanager
def until_stopped() -> Iterator[Callable[[list[str]], subprocess.CompletedProcess]]:
    """Gives a `run_segpipe`. Within it, SIGINT and SIGTERM end it and this process at once, with exit status 0."""
    stopping = threading.Event()

    def stopped(number: int, terminal: int) -> None:
        stopping.set()
        end(number, terminal, mend="start it again to go on", status=0, patience=30)

    def run(arguments: list[str]) -> subprocess.CompletedProcess:
        done = run_segpipe(arguments)
        if stopping.is_set():
            # What is killed because this process ends is no failure to remember.
            threading.Event().wait()
        return done

    with stoppable(stopped):
        yield run


@dataclass(frozen=True)
class Folders:
    """What is watched: see `segpipe ingest`."""

    images: str
    masks: str
    split_lists: str | None = None

    @property
    def options(self) -> list[str]:
        lists = [] if self.split_lists is None else ["--split-lists", self.split_lists]
        return ["--images", self.images, "--masks", self.masks, *lists]


@dataclass(frozen=True)
class Retraining:
    """Retrains a workspace when it is called.

    Attributes:
      folders: what is watched; None leaves ingesting to others.
      config: path of the config, or None for the defaults.
      segpipe: runs the command with its arguments and returns how it ended.
    """

    workspace: Workspace
    folders: Folders | None = None
    config: str | None = None
    segpipe: Callable[[list[str]], subprocess.CompletedProcess] = run_segpipe

    def __call__(self) -> Outcome:
        """Returns what became of it, also where a command failed."""
        if self.workspace.is_held():
            message = f"{self.workspace.root} is in use by {self.workspace.holder}"
            return Outcome(verdict="busy", step="ingest", message=message, exit_status=1)
        # An empty folder is one whose photos somebody takes away when they are ingested.
        if self.folders is not None and photo_files(self.folders.images):
            status, told = self._command("ingest", *self.folders.options, "--only-new", "--quiet", *self._config)
            if status:
                return _ended("ingest", status, told)
        # No run trains on the golden span.
        golden = load_config(self.config).data.golden_span
        newest = max((number for number in list_spans(self.workspace.data) if number != golden), default=None)
        if newest is None:
            message = f"nothing new: {self.workspace.data} holds no span yet"
            return Outcome(verdict="skipped", step="ingest", message=message)
        status, told = self._command("status", "--last", "200")
        if status:
            return _ended("status", status, told)
        for run in told["runs"]:
            if run["spans"] and run["spans"][-1] == newest and run["verdict"] in _FINISHED:
                message = f"nothing new: run {run['run_id']} finished on span {newest}, the newest"
                return Outcome(verdict="skipped", step="ingest", message=message, span=newest)
        status, told = self._command("run", "--quiet", *self._config)
        return _ended("run", status, told).model_copy(update={"span": newest})

    @property
    def _config(self) -> list[str]:
        return [] if self.config is None else ["--config", self.config]

    def _command(self, name: str, *options: str) -> tuple[int, dict]:
        """Runs a command to its end; returns its exit status and its result."""
        done = self.segpipe([name, *options, "--json", "--workspace", self.workspace.root])
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
            how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else said[-1]
            return done.returncode or 1, {"error": f"segpipe {name}: {how}"}


def _ended(step: str, status: int, told: dict) -> Outcome:
    run = {name: told.get(name) for name in ("run_id", "version", "report")}
    if status == 0:
        live = f"version {told['version']}"
        message = f"pushed {live}" if told["verdict"] == "pushed" else f"nothing new to push; live is {live}"
        return Outcome(verdict=told["verdict"], step=step, message=message, **run)
    verdict = "refused" if status == RefusedError.exit_status else "failed"
    message = told.get("error") or "; ".join(told["reasons"])
    return Outcome(verdict=verdict, step=step, message=f"{verdict}: {message}", exit_status=status, **run)
