"""The serving folder: `<folder>/<version>/` per pushed model, the highest version is live.

A version is copied beside, synced and renamed, so that a reader never sees half of one.
"""

import json
import os
import shutil
import tempfile
import time

from trainer.features import DESCRIPTION

PUSHED = os.path.join(os.path.dirname(DESCRIPTION), "pushed.json")


def list_versions(folder: str) -> list[int]:
    """Versions in the serving folder, ascending."""
    if not os.path.isdir(folder):
        return []
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())


def live_version(folder: str) -> int | None:
    """The version that is served: the highest."""
    return max(list_versions(folder), default=None)


def origin(folder: str, version: int) -> str | None:
    """URI of the model artifact that a version was copied from."""
    path = os.path.join(folder, str(version), PUSHED)
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)["origin"]


def publish(model: str, folder: str, origin_uri: str) -> int:
    """Copies a SavedModel into the serving folder under a new version.

    Args:
      model: folder of the SavedModel.
      folder: the serving folder; it is made where it is missing.
      origin_uri: where the model came from; it is recorded in the version.

    Returns:
      The version: seconds since 1970, or one more than the highest if the clock is behind that.
    """
    os.makedirs(folder, exist_ok=True)
    copy = tempfile.mkdtemp(prefix=".pushing-", dir=folder)
    try:
        staged = os.path.join(copy, "model")
        shutil.copytree(model, staged)
        os.makedirs(os.path.dirname(os.path.join(staged, PUSHED)), exist_ok=True)
        with open(os.path.join(staged, PUSHED), "w", encoding="utf-8") as file:
            json.dump({"origin": origin_uri}, file)
        _sync(staged)
        version = max(int(time.time()), (live_version(folder) or 0) + 1)
        os.rename(staged, os.path.join(folder, str(version)))
        _sync_folder(folder)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return version


def _sync(folder: str) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
