"""What stands in for a `ShardWriter` where processes that write shards are watched: they import it by its name."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

from components.ingest.shards import ShardPlan

PATIENCE = 60
"""Seconds that a `Slow` one takes."""


class Writer:
    """In place of a `ShardWriter`: notes which process writes a plan, and may be killed over it."""

    def __init__(self, *_):
        pass

    def write(self, plan: ShardPlan) -> None:
        Path(plan.path).write_text(str(os.getpid()))
        time.sleep(0.05)


class Killed(Writer):
    """Ends a further process as the kernel does where memory is short."""

    def write(self, plan: ShardPlan) -> None:
        super().write(plan)
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)


class Refused(Writer):
    """Finds the disk full."""

    def write(self, plan: ShardPlan) -> None:
        raise OSError(28, "No space left on device", plan.path)


class Slow(Writer):
    def write(self, plan: ShardPlan) -> None:
        super().write(plan)
        time.sleep(PATIENCE)


def plans_in(folder: Path, count: int) -> list[ShardPlan]:
    return [ShardPlan("train", str(folder / str(number)), ()) for number in range(count)]
