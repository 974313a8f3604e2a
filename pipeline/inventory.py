"""What a node left on disk, kept with its artifact in MLMD, so that the cache takes nothing that is damaged.

TFX takes a cached output if its folder is there, whatever became of the files in it. So the launcher records every
file, and before a run each artifact is held against that record. What differs is removed; then the cache misses, and
TFX makes it again with all that depends on it.

What is compared: size and modification time of every file, always. The content (SHA-256) where the time differs, and
of further files, newest artifacts first, until 256 MB are read. Of an artifact with more than 256 MB only the smaller
files have a SHA-256; the others count as damaged once their time differs.
"""

import json
import os
import shutil

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.ingest.spans import file_sha256

INVENTORY = "inventory"
"""Custom property of an artifact: JSON of relative path -> [bytes, modification time in ns, SHA-256 or null]."""
HASHED_BYTES = 256 << 20


def take_inventory(folder: str, hashed_bytes: int = HASHED_BYTES) -> str:
    """The inventory of a folder, as it is kept.

    Args:
      folder: of an artifact.
      hashed_bytes: how much to read, smallest files first.
    """
    paths = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    found = {}
    for size, path in sorted((os.path.getsize(path), path) for path in paths):
        hashed_bytes -= size
        digest = file_sha256(path) if hashed_bytes >= 0 else None
        found[os.path.relpath(path, folder)] = [size, os.stat(path).st_mtime_ns, digest]
    return json.dumps(found, sort_keys=True)


class Comparison:
    """Holds folders against their inventories.

    Args:
      hashed_bytes: how much may be read of files that look unchanged, in all.
    """

    def __init__(self, hashed_bytes: int = HASHED_BYTES):
        self._left = hashed_bytes

    def difference(self, folder: str, inventory: str) -> str | None:
        """What is wrong with the first damaged file, or None. Files that were added count for nothing."""
        for name, (size, time, digest) in json.loads(inventory).items():
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                return f"{path} is gone"
            found = os.stat(path)
            if found.st_size != size:
                return f"{path} has {found.st_size} bytes, not {size}"
            if found.st_mtime_ns != time and digest is None:
                return f"{path} was written to"
            if found.st_mtime_ns != time or (digest is not None and size <= self._left):
                self._left -= size
                if file_sha256(path) != digest:
                    return f"{path} has other content than was written"
        return None


def remove_damaged(store: metadata_store.MetadataStore) -> list[str]:
    """Removes the folder of each artifact that is not as its node left it; the caller holds the workspace's lock.

    Returns:
      A sentence for each.
    """
    comparison, told = Comparison(), []
    for artifact in sorted(store.get_artifacts(), key=lambda artifact: artifact.id, reverse=True):
        recorded = artifact.custom_properties.get(INVENTORY)
        live = artifact.state == metadata_store_pb2.Artifact.LIVE
        if not live or recorded is None or not os.path.isdir(artifact.uri):
            continue
        problem = comparison.difference(artifact.uri, recorded.string_value)
        if problem is not None:
            shutil.rmtree(artifact.uri)
            told.append(f"{problem}; the {artifact.type} that it belongs to is made again")
    return told
