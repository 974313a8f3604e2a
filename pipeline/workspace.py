"""The one folder that everything lives in, and the lock that keeps it to one writer."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from components.errors import SegpipeError


@dataclass(frozen=True)
class Workspace:
    """Paths under `root`, all absolute."""

    root: str

    @classmethod
    def at(cls, root: str) -> "Workspace":
        return cls(os.path.abspath(root))

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
    def checkpoints(self) -> str:
        return os.path.join(self.root, "checkpoints")

    @property
    def downloads(self) -> str:
        return os.path.join(self.root, "downloads")

    @property
    def tuned(self) -> str:
        return os.path.join(self.root, "tuned.yaml")

    def is_held(self) -> bool:
        """Whether a live process holds the lock, by the note beside it: trying the lock could refuse a writer."""
        try:
            with open(self._holder, encoding="utf-8") as file:
                os.kill(json.load(file)["pid"], 0)
        except PermissionError:
            # It lives, and belongs to another user.
            return True
        except (OSError, ValueError, KeyError):
            return False
        return True

    @property
    def _holder(self) -> str:
        return os.path.join(self.root, ".lock.json")

    @contextmanager
    def writer(self, doing: str) -> Iterator[None]:
        """Holds the workspace's lock; readers need none.

        Args:
          doing: what the holder does, for the message that a second writer gets.

        Raises:
          SegpipeError: at once, if another process writes here; it names that process.
        """
        os.makedirs(self.root, exist_ok=True)
        lock = FileLock(os.path.join(self.root, ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise SegpipeError(
                f"{self.root} is in use by {_describe(self._holder)}; wait for it or use another --workspace"
            ) from error
        try:
            with open(self._holder, "w", encoding="utf-8") as file:
                json.dump({"pid": os.getpid(), "doing": doing}, file)
            yield
        finally:
            if os.path.exists(self._holder):
                os.remove(self._holder)
            lock.release()


def _describe(holder: str) -> str:
    try:
        with open(holder, encoding="utf-8") as file:
            record = json.load(file)
        return f"segpipe {record['doing']} (process {record['pid']})"
    except (OSError, ValueError, KeyError):
        return "another segpipe"
