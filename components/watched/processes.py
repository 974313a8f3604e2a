"""Runs Beam's pipelines in several processes without waiting for one that is gone.

Beam notices that a process of its own was ended while it had photos, and waits for ever for one that was ended before
it got any.
"""

import contextlib
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import psutil

from components.errors import SegpipeError

SEVERAL = "--direct_running_mode=multi_processing"
"""The option of Beam that makes it start processes on this machine."""

_WORKER = "apache_beam.runners.worker.sdk_worker_main"
# The thread that Beam leaves beside each of its processes; it fails if the process did.
_BESIDE = "run_worker"
_PATIENCE = 5.0


class Watched:
    """Put before an executor of TFX that runs a Beam pipeline: its `Do` is watched."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Does what TFX does.

        Raises:
          SegpipeError: if one of Beam's processes was ended from outside.
        """
        run_watched(self._beam_pipeline_args, functools.partial(super().Do, input_dict, output_dict, exec_properties))


def run_watched(arguments: list[str], run: Callable[[], None]) -> None:
    """Calls a function that runs a Beam pipeline: in a thread, where Beam starts several processes.

    Args:
      arguments: options of Beam.
      run: the function; what it raises is raised.

    Raises:
      SegpipeError: if one of the processes was ended from outside.
    """
    if SEVERAL not in arguments:
        run()
        return
    gone, outcome, before = threading.Event(), Future(), threading.excepthook

    def note(failed: threading.ExceptHookArgs) -> None:
        if failed.thread is not None and failed.thread.name == _BESIDE:
            gone.set()
        else:
            before(failed)

    def work() -> None:
        try:
            outcome.set_result(run())
        except Exception as error:  # noqa: BLE001, it is raised below
            outcome.set_exception(error)

    threading.excepthook = note
    try:
        threading.Thread(target=work, name="beam", daemon=True).start()
        while not (outcome.done() or gone.is_set()):
            wait([outcome], timeout=0.2)
        # Most often Beam has noticed, too, and ends by itself.
        wait([outcome], timeout=_PATIENCE)
        if gone.is_set() and not (outcome.done() and outcome.exception() is None):
            _end_others()
            raise SegpipeError(
                "a process of this Beam pipeline was ended, most likely for want of memory; free some, or write "
                "direct_num_workers: 1 for it into the config's section beam, and run the command again"
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
    # What they say of it is for this module to hear.
    for thread in threading.enumerate():
        if thread.name == _BESIDE:
            thread.join(_PATIENCE)
