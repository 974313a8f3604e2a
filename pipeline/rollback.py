"""`segpipe rollback`: an older model goes live again as a new version, and everything that follows knows it.

The rename that makes the new version appear is the moment of the rollback; the version carries who, why and from where.
If the process dies before MLMD has it too, the next `rollback` or `run` records it.
"""

import os
import time

from ml_metadata.metadata_store import metadata_store

from components.errors import UsageError
from components.pusher.versions import (
    Rollback,
    check_whole,
    list_versions,
    live_version,
    origin,
    publish,
    read_pushed,
    version_before,
    version_folder,
)
from pipeline.blessings import login_name
from pipeline.metadata import open_metadata
from pipeline.remote_metadata import connect
from pipeline.rollbacks import NODE, RecordedRollback, find_model, known_model, read_rollbacks, record
from pipeline.workspace import Workspace


def rollback(workspace: Workspace, version: int | None, reason: str) -> tuple[RecordedRollback, bool]:
    """Publishes an older model again, as the only writer of the workspace.

    Args:
      workspace: whose serving folder.
      version: the version to return to; None takes the one before the live one that is another model and that no
        rollback has left.
      reason: why; it is recorded.

    Returns:
      The rollback, and whether this call has made it; False if it completed the record of one that was killed.

    Raises:
      UsageError: if there is no reason, no such version, or nothing to return to.
      SegpipeError: if the version is damaged, its model is none of this workspace's, or the workspace is in use.
    """
    if not reason.strip():
        raise UsageError("--reason is empty; say why the live model has to go")
    # A workspace that is not there must not be made, which taking its lock does.
    _choose(workspace.serving, version)
    with workspace.writer("rollback"):
        store = _records(workspace)
        unfinished = _complete(workspace, store)
        if unfinished is not None:
            return unfinished, False
        live, chosen = live_version(workspace.serving), _choose(workspace.serving, version)
        check_whole(workspace.serving, chosen)
        model = origin(workspace.serving, chosen)
        known_model(store, model)
        made = Rollback(
            reason=reason.strip(),
            by=login_name(),
            at=round(time.time(), 3),
            left=live,
            left_origin=origin(workspace.serving, live),
            returned_to=chosen,
        )
        publish(version_folder(workspace.serving, chosen), workspace.serving, model, made)
        return _complete(workspace, store), True


def complete_rollback(workspace: Workspace) -> RecordedRollback | None:
    """Records the rollback that made the live version, if its process died before it could.

    The caller has the lock. Metadata that are new know no model that could lose its blessing, so nothing is recorded.
    """
    live = read_pushed(workspace.serving, live_version(workspace.serving))
    if live is None or live.rollback is None:
        return None
    if workspace.server is None and not os.path.isfile(workspace.metadata):
        return None
    store = _records(workspace)
    return _complete(workspace, store) if find_model(store, live.origin) is not None else None


def _records(workspace: Workspace) -> metadata_store.MetadataStore:
    if workspace.server is None:
        return open_metadata(workspace.metadata)
    return connect(workspace.server, patience=10, create=False)


def _complete(workspace: Workspace, store: metadata_store.MetadataStore) -> RecordedRollback | None:
    version = live_version(workspace.serving)
    live = read_pushed(workspace.serving, version)
    if live is None or live.rollback is None or any(r.version == version for r in read_rollbacks(store)):
        return None
    record(store, live.origin, version, live.rollback, os.path.join(workspace.pipeline_root, NODE))
    return RecordedRollback(**live.rollback.model_dump(), version=version, origin=live.origin)


def _choose(serving: str, version: int | None) -> int:
    versions = list_versions(serving)
    if not versions:
        raise UsageError(f"{serving}: holds no model, so there is nothing to roll back; run segpipe run first")
    live = versions[-1]
    if version is None:
        chosen = version_before(serving)
        if chosen is None:
            raise UsageError(
                f"{serving}: holds no other model than that of the live version {live}, or only such as a rollback has "
                f"left; name one of {versions} to return to it, or push a better one with segpipe run"
            )
        return chosen
    if version not in versions:
        raise UsageError(f"VERSION {version}: not in {serving}, which has {versions}; name one of these")
    if version == live or (origin(serving, live) is not None and origin(serving, version) == origin(serving, live)):
        raise UsageError(f"VERSION {version}: is the model that is live already, as version {live}; name another one")
    return version
