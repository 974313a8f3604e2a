"""Which versions stay in the serving folder, and how the others go without a reader noticing."""

import glob
import os
import shutil
import time
from itertools import pairwise

from components.pusher.settings import RetentionSettings
from components.pusher.versions import list_versions, read_pushed, version_before

_RETIRED = ".retired-"


def retire(folder: str, settings: RetentionSettings) -> list[int]:
    """Removes old versions, as the only writer of the workspace.

    The newest `keep`, the one that a rollback would go to, and what segpipe did not push stay. So does a version that
    was live until `grace_seconds` ago, since a reader may be loading it still. What goes is first renamed, so that
    nobody finds a part of it.

    Args:
      folder: the serving folder.
      settings: what to keep; nothing is removed where `keep` is None.

    Returns:
      The versions that were removed, ascending.
    """
    for left_over in glob.glob(os.path.join(glob.escape(folder), _RETIRED + "*")):
        shutil.rmtree(left_over)
    if settings.keep is None:
        return []
    versions = list_versions(folder)
    spared = {*versions[-settings.keep :], version_before(folder)}
    retired = []
    for version, successor in pairwise(versions):
        path = os.path.join(folder, str(version))
        # A rename sets ctime: when the successor went live. A clock that was set back makes this negative: it stays.
        superseded = time.time() - os.lstat(os.path.join(folder, str(successor))).st_ctime
        old = version not in spared and superseded >= settings.grace_seconds
        if old and not os.path.islink(path) and read_pushed(folder, version) is not None:
            gone = os.path.join(folder, f"{_RETIRED}{version}")
            os.rename(path, gone)
            shutil.rmtree(gone)
            retired.append(version)
    return retired
