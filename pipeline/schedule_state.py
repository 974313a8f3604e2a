"""What a schedule remembers: one file in the workspace, written whole or not at all."""

import os
import time
from typing import Literal

from components.errors import SegpipeError
from components.ingest.spans import Record, read_record, write_record
from pipeline.workspace import Workspace, is_alive

Verdict = Literal["pushed", "unchanged", "skipped", "refused", "failed", "busy"]


class Outcome(Record):
    """What one attempt to retrain came to.

    Attributes:
      verdict: pushed, unchanged (it ran, and the model was live already), skipped (nothing new), refused, failed or
        busy (another process wrote in the workspace).
      step: the command that ended it: ingest, status or run.
      message: a sentence.
      exit_status: of that command.
      span: the newest span, or None without one.
      run_id, version, report: of the run, where there was one.
    """

    verdict: Verdict
    step: str
    message: str
    exit_status: int = 0
    span: int | None = None
    run_id: str | None = None
    version: int | None = None
    report: str | None = None


class Attempt(Outcome):
    """An outcome with when it `started` and `ended`, in seconds since 1970, and its number within its tick from 1."""

    started: float
    ended: float
    number: int


class State(Record):
    """A schedule of a workspace.

    Attributes:
      cron: its expression; None where something else, such as cron itself, calls `segpipe schedule --once`.
      next_tick: when the next tick is due, seconds since 1970. It stays until the first attempt of that tick ended, so
        that whoever was not there then, or was killed in the middle, makes up for it.
      retry_at: when a tick that failed is tried again, or None.
      attempts: how often that tick has failed.
      last: the attempt that ended last, or None.
      process: who keeps the schedule, as `this_process` describes it.
    """

    cron: str | None = None
    next_tick: float | None = None
    retry_at: float | None = None
    attempts: int = 0
    last: Attempt | None = None
    process: dict[str, int | str | None] = {}

    @property
    def due(self) -> float:
        """When something is to be done next."""
        return min(moment for moment in (self.next_tick, self.retry_at) if moment is not None)


def write_state(workspace: Workspace, state: State) -> None:
    """Keeps a state over the one before."""
    os.makedirs(workspace.root, exist_ok=True)
    write_record(workspace.schedule + ".part", state)
    os.replace(workspace.schedule + ".part", workspace.schedule)


def read_state(workspace: Workspace) -> State | None:
    """The state, or None where nothing was ever scheduled.

    Raises:
      SegpipeError: if the file is damaged.
    """
    try:
        return read_record(workspace.schedule, State)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SegpipeError(f"{workspace.schedule}: is damaged; remove it, and segpipe schedule begins anew") from error


def when(moment: float) -> str:
    """A moment as people read it, on the clock of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def state_lines(state: State) -> list[str]:
    """A state as `segpipe status` tells it."""
    lines = []
    if state.cron is not None:
        kept = "" if is_alive(state.process) else "; nobody keeps it now, start segpipe schedule again"
        again = "" if state.retry_at is None else f", tries again {when(state.retry_at)}"
        lines.append(f"schedule {state.cron}: next {when(state.next_tick)}{again}{kept}")
    if state.last is not None:
        last = state.last
        lines.append(f"last scheduled retraining {when(last.started)}, attempt {last.number}: {last.message}")
    return lines
