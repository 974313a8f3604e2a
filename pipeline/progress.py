"""What a person sees while a run goes on: a line per component, and the log in a file.

TFX and TensorFlow write thousands of lines to standard output and error, from C++ and worker processes too. So both
file descriptors go to the log while a run goes on, and the console keeps a copy of the terminal.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# The format strings of TFX's own log calls; LocalDagRunner says Component, BeamDagRunner says node.
_RUNNING = ("Component %s is running.", "node %s is running.")
_FINISHED = ("Component %s is finished.", "node %s is finished.")
_CACHED = "A cached execution %d is used."
# Of the Trainer's learning curve.
_STEP = "step %d of %d: loss %.3f, mean_iou %.3f"


@contextlib.contextmanager
def output_to(log: str) -> Iterator[Console]:
    """Sends standard output and error to a log file; yields a console on the real standard error.

    Args:
      log: path; its folder is made where it is missing.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    _flush()
    saved = os.dup(1), os.dup(2)
    with open(saved[1], "w", encoding="utf-8", closefd=False) as terminal, open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=terminal, highlight=False)
        finally:
            _flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
    for original in saved:
        os.close(original)


def _flush() -> None:
    """Empties the buffers of standard output and error; on a full disk, what the log cannot take is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # It must hide neither what went wrong nor end up on the terminal.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
                stream.flush()


class RunProgress(logging.Handler):
    """Turns TFX's log records into a line per component: its name, what it did, and its seconds.

    Args:
      console: where to write.
      quiet: True writes nothing.
      did: says in a few words what a component that has finished did.
    """

    def __init__(self, console: Console, quiet: bool = False, did: Callable[[str], str] = lambda node: ""):
        super().__init__(logging.INFO)
        self._console, self._quiet, self._did = console, quiet, did
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._live = Progress(*columns, console=console, transient=True)
        self._task = self._live.add_task("starting TensorFlow and TFX", total=None)
        self._started: dict[str, float] = {}
        self._cached = False
        self.node: str | None = None

    def __enter__(self) -> "RunProgress":
        if not self._quiet and self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live.live.is_started:
            self._live.stop()
        logging.getLogger("absl").removeHandler(self)

    def listen(self) -> None:
        """Starts to follow TFX's log; absl must have been imported."""
        logging.getLogger("absl").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        # Set by trainer/notes.py.
        if getattr(record, "note", False) and not self._quiet:
            node = f"{self.node}: " if self.node else ""
            self._console.print(f"  {escape(node + record.getMessage())}", soft_wrap=True)
        if record.msg == _CACHED:
            self._cached = True
        elif record.msg in _RUNNING:
            self.node, self._cached = str(record.args[0]), False
            self._started[self.node] = time.monotonic()
            self._live.reset(self._task, description=escape(self.node))
        elif record.msg in _FINISHED:
            self._finish(str(record.args[0]))
        elif record.msg == _STEP:
            step, steps, _, mean_iou = record.args
            text = f"{self.node}  step {step:,} of {steps:,}, mean IoU {mean_iou:.3f}"
            self._live.update(self._task, description=escape(text))

    def _finish(self, node: str) -> None:
        seconds = time.monotonic() - self._started.pop(node, time.monotonic())
        if not self._quiet:
            time_spent = "[dim]  cached[/dim]" if self._cached else f"{seconds:6.1f} s"
            did = escape(f"{self._words(node):<44}")
            self._console.print(f"[green]✓[/green] {escape(node):<24} {did} {time_spent}", soft_wrap=True)
        self.node = None

    def _words(self, node: str) -> str:
        # A handler's exception would end the run that it follows; words are not worth that.
        try:
            return self._did(node)
        except Exception:  # noqa: BLE001
            return ""

    def broke_off(self, what: str) -> None:
        """Shows the component that was running when the run ended, and how: `refused` or `failed`."""
        if self.node is not None and not self._quiet:
            colour = "yellow" if what == "refused" else "red"
            self._console.print(f"[{colour}]✗[/{colour}] {escape(self.node):<24} {what}")
