"""Evaluates in Beam's processes without waiting for one that is gone.

Beam notices that a process of its own was ended while it had photos, and waits for ever for one that was ended before
it got any.
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import psutil

from components.errors import SegpipeError

_WORKER = "apache_beam.runners.worker.sdk_worker_main"
# The thread that Beam leaves beside each of its processes; it fails if the process did.
_BESIDE = "run_worker"
_PATIENCE = 5.0


def run_watched(evaluate: Callable[[], None]) -> None:
    """Calls a function that runs a Beam pipeline in several processes, in a thread.

    Args:
      evaluate: the function; what it raises is raised.

    Raises:
      SegpipeError: if one of the processes was ended from outside.
    """
    gone, outcome, before = threading.Event(), Future(), threading.excepthook

    def note(failed: threading.ExceptHookArgs) -> None:
        if failed.thread is not None and failed.thread.name == _BESIDE:
            gone.set()
        else:
            before(failed)

    def work() -> None:
        try:
            outcome.set_result(evaluate())
        except Exception as error:  # noqa: BLE001, it is raised below
            outcome.set_exception(error)

    threading.excepthook = note
    try:
        threading.Thread(target=work, name="evaluate", daemon=True).start()
        while not (outcome.done() or gone.is_set()):
            wait([outcome], timeout=0.2)
        # Most often Beam has noticed, too, and ends by itself.
        wait([outcome], timeout=_PATIENCE)
        if gone.is_set() and not (outcome.done() and outcome.exception() is None):
            _end_others()
            raise SegpipeError(
                "a process of this evaluation was ended, most likely for want of memory; free some, or write beam: "
                "{default: {direct_num_workers: 1}} into the config, and run the command again"
            )
        outcome.result()
    finally:
        threading.excepthook = before


def _end_others() -> None:
    """Ends Beam's other processes, for which the threads beside them would wait when this one ends."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if _WORKER in " ".join(child.cmdline()):
                child.kill()
