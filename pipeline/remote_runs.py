"""What the engines elsewhere have in common for whoever submits to them: runs, their end, and schedules."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from components.errors import UsageError
from pipeline.cron import check_cron

POLL_SECONDS = 20.0


@dataclass(frozen=True)
class Submitted:
    """A run that a service has taken.

    Attributes:
      name: by which the service knows it.
      address: of its page.
    """

    name: str
    address: str


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
      tasks: what each task that has ended came to, such as `succeeded`.
      verdict: pushed, refused or failed; None while it runs.
      message: of the verdict.
    """

    tasks: dict[str, str] = field(default_factory=dict)
    verdict: str | None = None
    message: str = ""


@dataclass(frozen=True)
class RemoteSchedule:
    """A schedule that a service keeps.

    Attributes:
      name: the pipeline's.
      id: by which the service knows it.
      cron: minute, hour, day, month and weekday.
      state: `active`, `paused`, or what else the service says.
      next_run: of it, or None.
      address: of its page.
    """

    name: str
    id: str
    cron: str
    state: str
    next_run: datetime | None
    address: str


def follow(ask: Callable[[], Progress], say: Callable[[str], None]) -> Progress:
    """Waits for the end of a run and says what each task came to.

    Args:
      ask: where the run is.
      say: takes a line.

    Returns:
      Its end.
    """
    told: set[str] = set()
    while True:
        progress = ask()
        for task, state in progress.tasks.items():
            if task not in told:
                say(f"{task} {state}")
        told |= progress.tasks.keys()
        if progress.verdict is not None:
            return progress
        time.sleep(POLL_SECONDS)


def check_remote_cron(expression: str) -> str:
    """Returns the expression if it is one of five fields that a service reads as we do.

    Raises:
      UsageError: if it is not.
    """
    if expression.startswith("@"):
        raise UsageError(f"--cron {expression!r}: services take five fields only; write '0 0 * * 0' for @weekly")
    return check_cron(expression)
