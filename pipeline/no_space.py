"""Tells that a disk is full, and which, from whatever a library made of the system's error."""

import errno
import os
import re
import shutil
from collections.abc import Iterator

# TensorFlow, Beam and shutil keep the system's text where they drop its number; SQLite and MLMD have their own.
_TEXT = re.compile("No space left on device|Disk quota exceeded|database or disk is full", re.IGNORECASE)
_PATH_START = re.compile(r"(?<![^\s'\"(\[])/")


def no_space(problem: BaseException, folder: str | None = None) -> str | None:
    """The beginning of a sentence that says where space is missing and what to do.

    Args:
      problem: what was raised.
      folder: what to name if the error names no file.

    Returns:
      None if the problem is another one.
    """
    for error in _chain(problem):
        text = str(error)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _TEXT.search(text):
            full = _named_folder(error) or folder or os.getcwd()
            free = shutil.disk_usage(full).free / 1e6
            return f"no space left on the disk of {full} ({free:.1f} MB free now); make room there"
    return None


def _chain(problem: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        yield problem
        problem = problem.__cause__ or problem.__context__


def _named_folder(error: BaseException) -> str | None:
    """The folder that an error is about; texts end with the path, the reason and nothing else of interest."""
    if isinstance(error, OSError) and error.filename is not None:
        return _existing(os.path.abspath(str(error.filename2 or error.filename)))
    text = str(error)
    reason = _TEXT.search(text)
    line = text[: reason.start()].splitlines()[-1] if reason and reason.start() else ""
    found = filter(None, (_existing(line[start.start() :]) for start in _PATH_START.finditer(line)))
    # A copy names where from and where to; and a path may hold spaces, so that it seems to begin several times.
    return max(found, key=lambda folder: (-shutil.disk_usage(folder).free, len(folder)), default=None)


def _existing(path: str) -> str | None:
    """The nearest folder that is there; what failed to be written is cleared away by now."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path if path not in ("", "/") else None
