"""Ctrl-C and SIGTERM end a writer at once, whatever its threads, C++ code or child processes are doing.

Nothing is unwound. Beam makes failures of exceptions that pass through it, its threads hold up an exit until their
work is done, and everything here survives SIGKILL anyway: what is half-written is invisible, and the kernel gives back
the lock.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end(
    number: int,
    terminal: int = 2,
    mend: str = "run the same command again to go on",
    status: int | None = None,
    patience: float = 0,
) -> None:
    """Says in one sentence that a signal stopped the command, and ends this process and those that it started.

    Args:
      number: of the signal.
      terminal: file descriptor to write to.
      mend: the end of the sentence.
      status: the exit status; None is 128 more than the signal, as shells have it.
      patience: seconds to wait until what was started is gone.
    """
    name = signal.Signals(number).name
    show_cursor = "\r\x1b[K\x1b[?25h" if os.isatty(terminal) else ""
    with contextlib.suppress(OSError):
        # Whoever read the terminal may be gone.
        os.write(terminal, f"{show_cursor}segpipe: stopped by {name}; {mend}\n".encode())
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    if patience:
        psutil.wait_procs(children, timeout=patience)
    os._exit(128 + number if status is None else status)


@contextlib.contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Ends the process in the same way where Ctrl-C raises KeyboardInterrupt: in commands that write no workspace."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        end(signal.SIGINT)


@contextlib.contextmanager
def stoppable(ended: Callable[[int, int], None] = end) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM end this process at once. A signal that is ignored stays ignored.

    Args:
      ended: is called with the signal and the descriptor of the terminal, in another thread, and ends the process.

    Only the main thread can have signal handlers; in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Standard error goes to a log later on; what is said at the end is for the terminal.
    terminal = os.dup(2)
    # No socket: libraries set a default timeout of sockets, and the watcher would end with it.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    threading.Thread(target=_watch, args=(reader, terminal, ended), daemon=True).start()
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, _left_to_the_watcher)
    _replaced.append(before)
    try:
        yield
    finally:
        _replaced.remove(before)
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)


def _left_to_the_watcher(*_) -> None:
    """Python calls this in the main thread, which may be in a long call of C++."""


def _watch(reader: int, terminal: int, ended: Callable[[int, int], None]) -> None:
    """Waits for the number of a signal, which Python's C code writes whatever the main thread does."""
    while received := os.read(reader, 1):
        if received[0] in SIGNALS:
            ended(received[0], terminal)
    os.close(reader)
    os.close(terminal)


_replaced: list[dict] = []
"""The handlers that `stoppable` replaced, while it is active."""


def _in_forked_child() -> None:
    # Its signals are no business of the process that it was forked from.
    if _replaced:
        signal.set_wakeup_fd(-1)
        for number, handler in _replaced[0].items():
            signal.signal(number, handler)


os.register_at_fork(after_in_child=_in_forked_child)
