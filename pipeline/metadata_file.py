"""The file that holds MLMD's database: read through a copy, checked, brought to the tables of a newer ML Metadata, and
kept a second time for when it breaks.

The copy is one that SQLite makes consistently, so that polling never blocks a run, nor fails it.
"""

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.errors import SegpipeError, UsageError
from pipeline.workspace import Workspace

BACKUP = "metadata.backup.db"
"""Beside the database: what it held after the last run that came through."""


def exists(path: str) -> bool:
    """Whether there is anything to read.

    Raises:
      SegpipeError: if the database is gone while artifacts that it knew are there.
      UsageError: if the workspace never had one, since its runs are recorded on a server.
    """
    if os.path.isfile(path) and os.path.getsize(path):
        return True
    root = os.path.join(os.path.dirname(path), "pipeline_root")
    if os.path.isdir(Workspace(os.path.dirname(path)).ir):
        raise UsageError(
            f"{path}: is not there, since Kubeflow's steps record the runs of this workspace on a server; name that "
            f"with --metadata, which status, report, diff and rollback have"
        )
    if os.path.isdir(root) and os.listdir(root):
        raise SegpipeError(f"{path}: is gone, but {root} holds what earlier runs made; {_way_out(path)}")
    return False


def back_up(path: str) -> None:
    """Keeps the database a second time; a damaged one does not replace the good copy.

    Raises:
      SegpipeError: if it is damaged.
    """
    target = os.path.join(os.path.dirname(path), BACKUP)
    part = target + ".part"
    with contextlib.suppress(FileNotFoundError):
        os.remove(part)
    try:
        _copy(path, part)
        os.replace(part, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


@contextlib.contextmanager
def snapshot(path: str) -> Iterator[metadata_store.MetadataStore]:
    """The database as it is now, to read from.

    Raises:
      SegpipeError: if it is damaged.
    """
    with _copied(path) as copy:
        try:
            # The copy may be brought to this library's tables, whatever the file has.
            yield _open(copy)
        except errors.StatusError as error:
            raise _damaged(path, str(error).splitlines()[0]) from error


def upgrade(path: str) -> None:
    """Brings the database of an older ML Metadata to this one's tables, and keeps what it was beside it.

    The caller has the workspace's lock.

    Raises:
      SegpipeError: if it is damaged.
    """
    with _copied(path) as copy:
        before = _schema_of(copy)
        try:
            _open(copy)
        except errors.StatusError as error:
            raise _damaged(path, str(error).splitlines()[0]) from error
        if _schema_of(copy) == before:
            return
    _copy(path, os.path.join(os.path.dirname(path), f"metadata.schema-{before}.db"))
    _open(path)


def _open(path: str) -> metadata_store.MetadataStore:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = path
    return metadata_store.MetadataStore(connection, enable_upgrade_migration=True)


def _schema_of(path: str) -> int | None:
    """Number of the tables' layout; None where they are not ML Metadata's."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'MLMDEnv'").fetchone():
            return None
        return database.execute("SELECT schema_version FROM MLMDEnv").fetchone()[0]


@contextlib.contextmanager
def _copied(path: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="segpipe-metadata-") as folder:
        copy = os.path.join(folder, "metadata.db")
        _copy(path, copy)
        yield copy


def _copy(path: str, target: str) -> None:
    # After a kill, SQLite takes the last half transaction back, for which it must be able to write.
    mode = "rw" if os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK) else "ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{Path(path).as_uri()}?mode={mode}", uri=True, timeout=30)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if "is full" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target) from error
        raise _damaged(path, str(error)) from error
    if found != "ok":
        raise _damaged(path, found.splitlines()[-1])


def _damaged(path: str, reason: str) -> SegpipeError:
    return SegpipeError(f"{path}: is damaged ({reason}); {_way_out(path)}")


def _way_out(path: str) -> str:
    folder = os.path.dirname(path)
    backup, root = os.path.join(folder, BACKUP), os.path.join(folder, "pipeline_root")
    afresh = f"move {path}* and {root} away to start afresh; what is served stays as it is"
    if not os.path.isfile(backup):
        return afresh
    # The star, as a journal of the old file would be played back into the new one.
    return f"move {path}* away and copy {backup} to {path} to have back what the last full run knew, or {afresh}"
