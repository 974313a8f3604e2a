"""The workspace's metadata database, to write to, through ML Metadata alone: TFX takes long to import."""

import os

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.errors import SegpipeError


def open_metadata(path: str) -> metadata_store.MetadataStore:
    """Opens a database that is there; the caller has the workspace's lock.

    Raises:
      SegpipeError: if it does not exist or is damaged.
    """
    if not os.path.isfile(path):
        raise SegpipeError(f"{path}: does not exist, so nothing can be recorded; bring it back or run segpipe run")
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = path
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    try:
        return metadata_store.MetadataStore(connection)
    # ML Metadata's own layer above SQLite raises the one, its service the other.
    except (RuntimeError, errors.StatusError) as error:
        why = str(error).partition(" query:")[0].splitlines()[0]
        raise SegpipeError(
            f"{path}: cannot be read as a metadata database ({why}); bring a copy of it back or move it away"
        ) from error
