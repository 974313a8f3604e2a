"""The copy of a root that is in a bucket.

TensorFlow has no S3, and much around it needs files that the operating system opens. So what is to be read is copied
from the bucket first, and what was written is copied to it before ML Metadata is told of it.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from absl import logging

from components.errors import SegpipeError
from components.ingest.spans import MANIFEST
from pipeline.bucket_lock import Held
from pipeline.buckets import Bucket, Object

_AT_ONCE = 8
_EVERY_SECONDS = 20
# Whoever finds this file in a folder takes the folder for whole, so it comes last and goes first.
_LAST = (MANIFEST, "saved_model.pb")
SERVING, _CHECKPOINTS = "serving_model/", "checkpoints/"


class Copy:
    """The copy of a root.

    Args:
      bucket, prefix: of the root.
      folder: where the copy is.

    Attributes:
      held: the root's lock, if this process has it.
    """

    def __init__(self, bucket: Bucket, prefix: str, folder: str):
        self.bucket, self.prefix, self.folder = bucket, prefix, folder
        self.held: Held | None = None
        self._there: dict[str, Object] = {}
        self._known: dict[str, tuple[int, int]] = {}
        self._fetched: dict[str, Object] = {}
        self._outlined: set[str] = set()
        self._storing = threading.Lock()

    def begin(self) -> None:
        """Empties the folder, since an earlier process may have left something half-way."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, mode=0o700)
        self.look()

    def look(self) -> None:
        """Asks what the bucket holds, and makes the folder of each artifact, empty, so that TFX finds it there.

        What another process has changed or removed since it was copied is no longer here.
        """
        start = len(self.prefix)
        self._there = {found.key[start:]: found for found in self.bucket.list(self.prefix)}
        for key in [key for key, found in self._fetched.items() if self._there.get(key) != found]:
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(self.folder, key))
            del self._fetched[key], self._known[key]
        for key in self._there:
            if not {"", ".", ".."}.isdisjoint(key.removesuffix("/").split("/")):
                raise SegpipeError(f"{self.bucket.address}/{self.prefix}{key}: is no path below the root; remove it")
            artifact = _artifact_of(key)
            if artifact is not None and not os.path.isdir(os.path.join(self.folder, artifact)):
                os.makedirs(os.path.join(self.folder, artifact))
                self._outlined.add(artifact)

    def fetch(self, wanted: Callable[[str], bool]) -> None:
        """Copies the objects whose keys below the root are wanted, those that are not here yet."""
        missing = [key for key in self._there if wanted(key) and key not in self._known and not key.endswith("/")]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for key, known in zip(missing, pool.map(self._download, missing), strict=True):
                self._known[key], self._fetched[key] = known, self._there[key]
        self._outlined -= {_artifact_of(key) for key in self._there if wanted(key)}

    def fetch_folders(self, paths: Iterable[str], wanted: Callable[[str], bool] = lambda key: True) -> None:
        """Copies what is below these folders of the copy; those elsewhere are left as they are."""
        folders = tuple(os.path.relpath(path, self.folder) + "/" for path in paths)
        self.fetch(lambda key: key.startswith(folders) and wanted(key))

    def _download(self, key: str) -> tuple[int, int]:
        path = os.path.join(self.folder, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.bucket.download(self.prefix + key, path)
        # A training that is tried again knows its data by when they were written.
        os.utime(path, (self._there[key].modified,) * 2)
        return _stamp(path)

    def store(self, below: str = "") -> None:
        """Copies to the bucket what is new or changed here, and removes there what is gone here.

        What is served is stored by the holder of the root's lock alone.

        Args:
          below: only what lies below this folder, which ends with a slash.
        """
        with self._storing:
            if self.held is not None:
                self.held.insist()
            here = {key: path for key, path in self._files() if key.startswith(below)}
            new = [key for key, path in here.items() if self._known.get(key) != _stamp(path)]
            gone = [key for key in self._known if key not in here and self._may_store(key) and key.startswith(below)]
            gone += [key for key in self._left_over(new) if key not in here and key.startswith(below)]
            first, last = _split(new)
            self._all(self._upload, first)
            self._all(self._upload, last)
            rest, before = _split(gone)
            self._all(self._delete, before)
            self._all(self._delete, rest)

    def _all(self, work: Callable[[str], None], keys: list[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(work, keys))

    def _upload(self, key: str) -> None:
        path = os.devnull if key.endswith("/") else os.path.join(self.folder, key)
        known = _stamp(path)
        self.bucket.upload(path, self.prefix + key)
        self._known[key] = known
        self._fetched.pop(key, None)

    def _delete(self, key: str) -> None:
        self.bucket.delete(self.prefix + key)
        for kept in (self._known, self._fetched, self._there):
            kept.pop(key, None)

    def _files(self) -> Iterator[tuple[str, str]]:
        """Key -> path of each file that the root keeps, and of each artifact's folder that is empty."""
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = os.path.join(parent, name)
                key = os.path.relpath(path, self.folder)
                if not name.startswith(".") and not name.endswith(".part") and self._may_store(key):
                    yield key, path
            key = os.path.relpath(parent, self.folder) + "/"
            if not folders and not names and _artifact_of(key) == key[:-1] and key[:-1] not in self._outlined:
                yield key, parent

    def _may_store(self, key: str) -> bool:
        return self.held is not None or not key.startswith(SERVING)

    def _left_over(self, new: list[str]) -> Iterator[str]:
        """Keys of files that were there before a folder was made anew: an artifact's or a span's."""
        anew = {os.path.dirname(key) + "/" for key in new if os.path.basename(key) == MANIFEST}
        for artifact in self._outlined:
            path = os.path.join(self.folder, artifact)
            if os.path.isdir(path) and os.listdir(path):
                anew.add(artifact + "/")
        return (key for key in self._there if key.startswith(tuple(anew)))

    @contextlib.contextmanager
    def keeping_up(self, seconds: float = _EVERY_SECONDS) -> Iterator[None]:
        """Stores checkpoints while a training goes on, so that one that is killed does not begin again."""
        ended = threading.Event()

        def store() -> None:
            while not ended.wait(seconds):
                try:
                    self.store(_CHECKPOINTS)
                except FileNotFoundError:
                    # The training has come to its end, and removed it.
                    continue
                except SegpipeError as error:
                    logging.warning("the checkpoint could not be stored yet: %s", error)

        storer = threading.Thread(target=store, daemon=True)
        storer.start()
        try:
            yield
        finally:
            ended.set()
            storer.join()


def _split(keys: list[str]) -> tuple[list[str], list[str]]:
    last = [key for key in keys if os.path.basename(key) in _LAST]
    return [key for key in keys if key not in last], last


def _stamp(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return (0, 0) if os.path.isdir(path) or path == os.devnull else (found.st_size, found.st_mtime_ns)


def _artifact_of(key: str) -> str | None:
    """`pipeline_root/<node>/<output>/<execution>`, if a key lies in one."""
    parts = key.split("/")
    whole = len(parts) > 4 and parts[0] == "pipeline_root" and parts[2] != "refused"
    return "/".join(parts[:4]) if whole else None
