"""What a person sees while a run goes on: a line per component, and the log in a file.

TFX and TensorFlow write thousands of lines to standard output and error, from C++ and worker processes too. So both
file descriptors go to the log while a run goes on, and the console keeps a copy of the terminal.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

# The format strings of TFX's own log calls; LocalDagRunner says Component, BeamDagRunner says node.
_RUNNING = ("Component %s is running.", "node %s is running.")
_FINISHED = ("Component %s is finished.", "node %s is finished.")
_CACHED = "A cached execution %d is used."


@contextlib.contextmanager
def output_to(log: str) -> Iterator[Console]:
    """Sends standard output and error to a log file; yields a console on the real standard error.

    Args:
      log: path; its folder is made where it is missing.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with open(saved[1], "w", encoding="utf-8", closefd=False) as terminal, open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=terminal, highlight=False)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
    for original in saved:
        os.close(original)


class RunProgress(logging.Handler):
    """Turns TFX's log records into a line per component.

    Args:
      console: where to write.
      quiet: True writes nothing.
    """

    def __init__(self, console: Console, quiet: bool = False):
        super().__init__(logging.INFO)
        self._console, self._quiet = console, quiet
        self._spinner = console.status("starting TensorFlow and TFX")
        self._started: dict[str, float] = {}
        self._cached = False
        self.node: str | None = None

    def __enter__(self) -> "RunProgress":
        if not self._quiet and self._console.is_terminal:
            self._spinner.start()
        return self

    def __exit__(self, *_) -> None:
        self._spinner.stop()
        logging.getLogger("absl").removeHandler(self)

    def listen(self) -> None:
        """Starts to follow TFX's log; absl must have been imported."""
        logging.getLogger("absl").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        # Set by trainer/notes.py.
        if getattr(record, "note", False) and not self._quiet:
            self._console.print(f"  {escape(f'{self.node}: {record.getMessage()}')}", soft_wrap=True)
        if record.msg == _CACHED:
            self._cached = True
        elif record.msg in _RUNNING:
            self.node, self._cached = str(record.args[0]), False
            self._started[self.node] = time.monotonic()
            self._spinner.update(self.node)
        elif record.msg in _FINISHED:
            self._finish(str(record.args[0]))

    def _finish(self, node: str) -> None:
        seconds = time.monotonic() - self._started.pop(node, time.monotonic())
        if not self._quiet:
            did = "[dim]cached[/dim]" if self._cached else f"{seconds:6.1f} s"
            self._console.print(f"[green]✓[/green] {escape(node):<24} {did}")
        self.node = None
