"""A root in a bucket: each process works on a copy of it in a folder, which holds what the process needs.

    with open_root("s3://pets/segpipe", server) as workspace:
        ...

The folder has the same path on every machine, since ML Metadata names files by it: `/tmp/segpipe/s3/<bucket>/<folder>`,
or below what SEGPIPE_COPIES says.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from filelock import FileLock, Timeout

from components.errors import SegpipeError, UsageError
from pipeline.bucket_copy import SERVING, Copy
from pipeline.bucket_lock import locked
from pipeline.buckets import is_address, open_bucket
from pipeline.workspace import Workspace

COPIES = "SEGPIPE_COPIES"
"""Environment variable that names the folder of copies; it must say the same to all who use a root."""

_COPIES = "/tmp/segpipe"  # noqa: S108, `_copies` sees to it that it is this user's
_PATIENCE_SECONDS = 600


def open_workspace(root: str, server: str | None = None, serving: bool = False):
    """A context with the workspace of a folder, or of an address as `open_root` does."""
    return open_root(root, server, serving) if is_address(root) else contextlib.nullcontext(Workspace.at(root, server))


@contextlib.contextmanager
def open_root(address: str, server: str | None = None, serving: bool = False) -> Iterator["BucketWorkspace"]:
    """The workspace of a root in a bucket, whose copy begins with all but the large files; in the end it is stored.

    Args:
      address: of the root.
      server: see `Workspace`.
      serving: whether what is served is wanted too.

    Raises:
      SegpipeError: if the bucket cannot be reached.
    """
    bucket, prefix = open_bucket(address)
    kind, _, path = address.rstrip("/").partition("://")
    folder = os.path.join(_copies(), kind, path)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    copy = Copy(bucket, prefix, folder)
    with _alone_here(folder):
        copy.begin()
        copy.fetch(lambda key: _is_small(key) or (serving and key.startswith(SERVING)))
        try:
            yield BucketWorkspace(folder, server, copy=copy)
        finally:
            copy.store()


def _copies() -> str:
    """The folder of copies, which nobody else may write to."""
    folder = os.environ.get(COPIES, _COPIES)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    # A folder that Kubernetes mounts is root's.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{folder}: is not a folder of this user, so no copy is safe in it; remove it or set {COPIES}")
    return folder


@contextlib.contextmanager
def _alone_here(folder: str) -> Iterator[None]:
    """Keeps a copy to one process of this machine."""
    lock = FileLock(folder + ".lock")
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except Timeout as error:
        raise SegpipeError(f"{folder} is in use by another segpipe of this machine; wait for it") from error
    try:
        yield
    finally:
        lock.release()


def _is_small(key: str) -> bool:
    """Whether every process has it: what says which spans, windows, schemas, refusals and setups there are."""
    top, _, rest = key.partition("/")
    if top == "data":
        return ".tfrecord" not in rest
    if top == "pipeline_root":
        return "/refused/" in rest
    return top in ("schemas", "schema.pbtxt") or (top == "reports" and key.endswith("/setup.json"))


@dataclass(frozen=True)
class BucketWorkspace(Workspace):
    """A workspace whose `root` is a copy of one in a bucket."""

    copy: Copy = field(kw_only=True, compare=False)
    is_copy: ClassVar[bool] = True

    @contextlib.contextmanager
    def writer(self, doing: str, wait: float = 0) -> Iterator[None]:
        """As that of a folder, among all processes that use the bucket's root; what is served is copied first, and
        stored in the end.
        """
        with locked(self.copy.bucket, self.copy.prefix, doing, wait) as held:
            self.copy.look()
            self.copy.fetch(lambda key: _is_small(key) or key.startswith(SERVING))
            with super().writer(doing):
                self.copy.held = held
                try:
                    yield
                    self.copy.store()
                finally:
                    self.copy.held = None

    def fetch(self, paths: Iterable[str | None], wanted: Callable[[str], bool] = lambda key: True) -> None:
        """See `Workspace.fetch`."""
        self.copy.fetch_folders([path for path in paths if path is not None], wanted)
