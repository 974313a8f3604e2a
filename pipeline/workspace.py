"""The one folder that everything lives in, and the lock that keeps it to one writer."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from filelock import FileLock, Timeout

from components.errors import SegpipeError
from pipeline.stopping import stoppable


@dataclass(frozen=True)
class Workspace:
    """Paths under `root`, all absolute, and the address of the server that records the runs, or None where it is the
    database in it; see `pipeline.remote_metadata`.
    """

    root: str
    server: str | None = None

    is_copy: ClassVar[bool] = False
    """Whether the files are a copy of those in a bucket; see `pipeline.bucket_root`."""

    @classmethod
    def at(cls, root: str, server: str | None = None) -> "Workspace":
        return cls(os.path.abspath(root), server)

    @property
    def data(self) -> str:
        return os.path.join(self.root, "data")

    @property
    def pipeline_root(self) -> str:
        return os.path.join(self.root, "pipeline_root")

    @property
    def metadata(self) -> str:
        return os.path.join(self.root, "metadata.db")

    @property
    def serving(self) -> str:
        return os.path.join(self.root, "serving_model")

    @property
    def reports(self) -> str:
        return os.path.join(self.root, "reports")

    def report(self, run_id: str) -> str:
        """Folder of the report of one run."""
        return os.path.join(self.reports, run_id.replace(":", "-"))

    @property
    def logs(self) -> str:
        return os.path.join(self.root, "logs")

    @property
    def schemas(self) -> str:
        return os.path.join(self.root, "schemas")

    @property
    def ir(self) -> str:
        """Pipelines of runs that are launched step by step, whose metadata are on a server."""
        return os.path.join(self.root, "ir")

    @property
    def schema(self) -> str:
        """The schema that `segpipe schema accept` keeps, once it has."""
        return os.path.join(self.root, "schema.pbtxt")

    @property
    def checkpoints(self) -> str:
        return os.path.join(self.root, "checkpoints")

    @property
    def downloads(self) -> str:
        return os.path.join(self.root, "downloads")

    @property
    def tuned(self) -> str:
        return os.path.join(self.root, "tuned.yaml")

    @property
    def schedule(self) -> str:
        """What `segpipe schedule` remembers."""
        return os.path.join(self.root, "schedule.json")

    def fetch(self, paths: Iterable[str | None], wanted: Callable[[str], bool] = lambda key: True) -> None:
        """Brings the files below some folders here, as far as they are elsewhere.

        Args:
          paths: of the folders; None is none.
          wanted: whether a file is, by its path below the root.
        """

    def is_held(self) -> bool:
        """Whether a live process holds the lock, by the note beside it: trying the lock could refuse a writer."""
        try:
            with open(self._holder, encoding="utf-8") as file:
                return is_alive(json.load(file))
        except (OSError, ValueError):
            return False

    @property
    def _holder(self) -> str:
        return os.path.join(self.root, ".lock.json")

    @property
    def holder(self) -> str:
        """Who holds the lock, for a sentence."""
        try:
            with open(self._holder, encoding="utf-8") as file:
                record = json.load(file)
            return f"segpipe {record['doing']} (process {record['pid']})"
        except (OSError, ValueError, KeyError):
            return "another segpipe"

    @contextmanager
    def writer(self, doing: str, wait: float = 0) -> Iterator[None]:
        """Holds the workspace's lock; readers need none. Within it, SIGINT and SIGTERM end the process (`stopping`).

        The lock is the kernel's, on a descriptor that neither forked nor executed children keep, so it goes with this
        very process, however that ends.

        Args:
          doing: what the holder does, for the message that a second writer gets.
          wait: seconds to wait for another writer.

        Raises:
          SegpipeError: if another process writes here; it names that process.
        """
        os.makedirs(self.root, exist_ok=True)
        lock = FileLock(os.path.join(self.root, ".lock"))
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:
            raise SegpipeError(
                f"{self.root} is in use by {self.holder}; wait for it or use another --workspace"
            ) from error
        try:
            with stoppable():
                note = this_process() | {"doing": doing}
                with open(self._holder, "w", encoding="utf-8") as file:
                    json.dump(note, file)
                yield
        finally:
            if os.path.exists(self._holder):
                os.remove(self._holder)
            lock.release()


def this_process() -> dict[str, int | str | None]:
    """Describes this process so that `is_alive` can tell later whether it still runs."""
    return {"pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(note: dict) -> bool:
    """Whether the process that `this_process` described still runs."""
    try:
        os.kill(note["pid"], 0)
    except PermissionError:
        # It lives, and belongs to another user.
        return True
    except (OSError, KeyError):
        return False
    # A container that is started again gives the same numbers to other processes.
    return _started(note["pid"]) == note.get("started")


def _started(process: int) -> str | None:
    """When a process started, in clock ticks since the machine did; None where the system does not say, or where it is
    dead and only waits for its parent to take note.
    """
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        return None
