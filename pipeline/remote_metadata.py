"""ML Metadata on a server that steps on many machines share.

    store = connect("mysql://segpipe@mysql:3306/segpipe")      # or grpc://metadata-grpc-service:8080

The password of a MySQL user comes from the environment, where Kubernetes puts a secret, and from nowhere else.
"""

import os
import random
import time
from urllib.parse import urlsplit

from absl import logging
from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.errors import SegpipeError, UsageError

PASSWORD = "SEGPIPE_METADATA_PASSWORD"

Connection = metadata_store_pb2.ConnectionConfig | metadata_store_pb2.MetadataStoreClientConfig

_HOPELESS = ("Access denied", "Unknown database")


def connection(address: str) -> Connection:
    """What ML Metadata connects with.

    Args:
      address: `mysql://USER@HOST:PORT/DATABASE` or `grpc://HOST:PORT`.

    Raises:
      UsageError: if it is neither.
    """
    parts = urlsplit(address)
    if parts.scheme == "grpc" and parts.hostname and parts.port:
        return metadata_store_pb2.MetadataStoreClientConfig(host=parts.hostname, port=parts.port)
    if parts.scheme == "mysql" and parts.hostname and parts.port and parts.username and parts.path.strip("/"):
        return metadata_store_pb2.ConnectionConfig(
            mysql=metadata_store_pb2.MySQLDatabaseConfig(
                host=parts.hostname,
                port=parts.port,
                user=parts.username,
                database=parts.path.strip("/"),
                password=os.environ.get(PASSWORD, ""),
            )
        )
    raise UsageError(f"{address}: is neither mysql://USER@HOST:PORT/DATABASE nor grpc://HOST:PORT; mend the address")


def connect(address: str, patience: float = 120, create: bool = True) -> metadata_store.MetadataStore:
    """Connects, and makes the tables of an empty database.

    Whoever finds another client half-way through making them tries again, as does who comes before the server.

    Args:
      address: see `connection`.
      patience: seconds after which the last error counts.
      create: whether to make the database too where there is none.

    Raises:
      UsageError: see `connection`.
      SegpipeError: if the server refuses the user or does not answer.
    """
    given_up = time.monotonic() + patience
    config = connection(address)
    if not create and isinstance(config, metadata_store_pb2.ConnectionConfig):
        config.mysql.skip_db_creation = True
    while True:
        try:
            store = metadata_store.MetadataStore(config)
            store.get_context_types()
            return store
        # ML Metadata's layer above the database raises the one, its service the other.
        except (RuntimeError, errors.StatusError) as error:
            why = str(error).partition(" query:")[0].splitlines()[0]
            if time.monotonic() > given_up or any(sign in why for sign in _HOPELESS):
                raise SegpipeError(
                    f"{address}: ML Metadata cannot be reached there ({why}); see to the server, the user and the "
                    f"password in {PASSWORD}"
                ) from error
            logging.info("ML Metadata is not ready, trying again: %s", why)
            time.sleep(random.uniform(0.5, 2))
