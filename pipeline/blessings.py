"""Blessings by hand, as MLMD holds them: a ModelBlessing as the Evaluator's, with who gave it, why, and the version."""

import getpass
import os
from dataclasses import dataclass

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

NODE = "HandBlessing"
"""The node, and the type of its executions, that `segpipe bless` adds to a run."""
REASON, BLESSED_BY, VERSION = "reason", "blessed_by", "pushed_version"
"""Custom properties of `blessing`, beside those of the Evaluator."""


@dataclass(frozen=True)
class Blessing:
    """Why and by whom (a login name) a model was blessed, when (seconds since 1970), the version it became, and the id
    of the execution, which orders it among the runs: clocks go back.
    """

    reason: str
    by: str
    at: float
    version: int
    execution: int


def read_blessings(store: metadata_store.MetadataStore) -> dict[str, Blessing]:
    """The models that a person blessed, by their URI. The gate's own blessings are not among them."""
    found = {}
    for artifact in store.get_artifacts_by_type("ModelBlessing"):
        properties = artifact.custom_properties
        if artifact.state == metadata_store_pb2.Artifact.LIVE and REASON in properties:
            found[properties["current_model"].string_value] = Blessing(
                reason=properties[REASON].string_value,
                by=properties[BLESSED_BY].string_value,
                at=artifact.create_time_since_epoch / 1000,
                version=properties[VERSION].int_value,
                execution=_maker(store, artifact.id),
            )
    return found


def login_name() -> str:
    """Who runs this process, as it is recorded with what a person decides."""
    try:
        return getpass.getuser()
    # Python 3.13 raises the one, an older one the other.
    except (OSError, KeyError):
        # A container may run under a number that no account has.
        return f"uid {os.getuid()}"


def _maker(store: metadata_store.MetadataStore, artifact_id: int) -> int:
    events = store.get_events_by_artifact_ids([artifact_id])
    return next(event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT)
