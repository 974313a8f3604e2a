"""The serving folder: `<folder>/<version>/` per pushed model, the highest version is live.

A version is copied beside, synced and renamed, so that a reader never sees half of one. What it was copied from stands
in it, in `assets.extra/pushed.json`. Whoever writes here holds the workspace's lock.
"""

import filecmp
import glob
import os
import shutil
import tempfile
import time

from components.errors import SegpipeError, UsageError
from components.ingest.spans import Record, file_sha256, read_record, write_record
from components.paths import is_inside
from trainer.features import DESCRIPTION

PUSHED = os.path.join(os.path.dirname(DESCRIPTION), "pushed.json")
_PUSHING = ".pushing-"


class Rollback(Record):
    """One rollback.

    Attributes:
      reason, by: why, and the login name of who did it.
      at: when, in seconds since 1970.
      left: the version that was live before.
      left_origin: URI of the model artifact that it was a copy of; None if nobody knows.
      returned_to: the older version whose model is live since.
    """

    reason: str
    by: str
    at: float
    left: int
    left_origin: str | None
    returned_to: int

    def __str__(self) -> str:
        return f"rolled back by {self.by}: {self.reason}"


class Pushed(Record):
    """What a version says of itself.

    Attributes:
      origin: URI of the model artifact that it was copied from.
      files: path in the version -> SHA-256, of every file but this record.
      left: URI of a model that a rollback left -> by whom and why; no run pushes it again by itself.
      rollback: the rollback that made this version, or None if it was pushed.
    """

    origin: str
    files: dict[str, str] = {}
    left: dict[str, str] = {}
    rollback: Rollback | None = None


def list_versions(folder: str) -> list[int]:
    """Versions in the serving folder, ascending."""
    if not os.path.isdir(folder):
        return []
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())


def live_version(folder: str) -> int | None:
    """The version that is served: the highest."""
    return max(list_versions(folder), default=None)


def version_folder(folder: str, version: int) -> str:
    """The folder of a version, for whoever is to load it.

    Raises:
      UsageError: if the version, or a file in it, is a link that leads out of it.
    """
    path = os.path.join(folder, str(version))
    own = os.path.join(os.path.realpath(folder), str(version))
    for parent, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            named = os.path.normpath(os.path.join(parent, name))
            if not is_inside(named, own) or os.path.realpath(own) != own:
                raise UsageError(
                    f"{named}: is a link to {os.path.realpath(named)}, and only files that were pushed are loaded; "
                    f"remove the link or choose another version"
                )
    return path


def read_pushed(folder: str, version: int | None) -> Pushed | None:
    """What a version says of itself; None for no version, or one that segpipe did not push."""
    path = os.path.join(folder, str(version), PUSHED)
    if version is None or not os.path.isfile(path):
        return None
    try:
        return read_record(path, Pushed)
    except ValueError:
        return None


def origin(folder: str, version: int) -> str | None:
    """URI of the model artifact that a version was copied from."""
    pushed = read_pushed(folder, version)
    return None if pushed is None else pushed.origin


def reason_not_to_push(folder: str, origin_uri: str) -> str | None:
    """Who rolled back from a model and why, as the live version remembers it; None if nobody did."""
    live = read_pushed(folder, live_version(folder))
    return None if live is None else live.left.get(origin_uri)


def version_before(folder: str) -> int | None:
    """Where a rollback goes by itself: the newest version of a model that is neither live nor left by a rollback."""
    versions = list_versions(folder)
    live = read_pushed(folder, max(versions, default=None))
    passed_over = set() if live is None else {live.origin, *live.left}
    for version in reversed(versions[:-1]):
        model = origin(folder, version)
        if model is not None and model not in passed_over:
            return version
    return None


def check_whole(folder: str, version: int) -> None:
    """Holds a version against the hashes of when it was pushed.

    Raises:
      SegpipeError: if a file is missing, altered or new, or there are no hashes.
    """
    pushed, path = read_pushed(folder, version), version_folder(folder, version)
    if pushed is None or not pushed.files:
        raise SegpipeError(
            f"{path}: holds no {PUSHED} that tells whether it is whole; choose a version that segpipe pushed"
        )
    found = _hashes(path)
    for name in sorted(pushed.files.keys() | found.keys()):
        if pushed.files.get(name) != found.get(name):
            what = "is missing" if name not in found else "is not the file that was pushed"
            raise SegpipeError(f"{os.path.join(path, name)}: {what}, so the version is damaged; choose another one")


def is_copy(folder: str, version: int, model: str) -> bool:
    """Whether a version holds every file of a SavedModel, byte for byte.

    Where a model lies does not tell: executions are counted from 1 again once their database is begun anew.
    """
    names = [
        os.path.relpath(os.path.join(parent, name), model) for parent, _, files in os.walk(model) for name in files
    ]
    _, differing, missing = filecmp.cmpfiles(model, os.path.join(folder, str(version)), names, shallow=False)
    return bool(names) and not differing and not missing


def publish(model: str, folder: str, origin_uri: str, rollback: Rollback | None = None) -> int:
    """Copies a SavedModel into the serving folder under a new version.

    Args:
      model: folder of the SavedModel.
      folder: the serving folder; it is made where it is missing.
      origin_uri: where the model came from; it is recorded in the version.
      rollback: why an older model is published again, if it is one.

    Returns:
      The version: seconds since 1970, or one more than the highest if the clock is behind that.
    """
    os.makedirs(folder, exist_ok=True)
    for left_over in glob.glob(os.path.join(glob.escape(folder), _PUSHING + "*")):
        shutil.rmtree(left_over)
    copy = tempfile.mkdtemp(prefix=_PUSHING, dir=folder)
    try:
        staged = os.path.join(copy, "model")
        shutil.copytree(model, staged)
        os.makedirs(os.path.dirname(os.path.join(staged, PUSHED)), exist_ok=True)
        left = _models_left(folder, origin_uri, rollback)
        record = Pushed(origin=origin_uri, files=_hashes(staged), left=left, rollback=rollback)
        write_record(os.path.join(staged, PUSHED), record)
        _sync(staged)
        version = max(int(time.time()), (live_version(folder) or 0) + 1)
        os.rename(staged, os.path.join(folder, str(version)))
        sync_folder(folder)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return version


def _models_left(folder: str, origin_uri: str, rollback: Rollback | None) -> dict[str, str]:
    """`Pushed.left` of the next version: the live one's and what this rollback leaves, without what goes live."""
    live = read_pushed(folder, live_version(folder))
    left = {} if live is None else dict(live.left)
    if rollback is not None and rollback.left_origin is not None:
        left[rollback.left_origin] = str(rollback)
    left.pop(origin_uri, None)
    return left


def _hashes(folder: str) -> dict[str, str]:
    paths = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    named = {os.path.relpath(path, folder): path for path in paths}
    return {name: file_sha256(path) for name, path in sorted(named.items()) if name != PUSHED}


def _sync(folder: str) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        sync_folder(parent)


def sync_folder(folder: str) -> None:
    """Makes renames in a folder last over a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
