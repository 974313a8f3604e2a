"""What came from what, by the events in MLMD."""

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd


def ancestors(store: metadata_store.MetadataStore, artifact_ids: set[int]) -> tuple[set[int], set[int]]:
    """Everything that artifacts were made from, directly or not.

    Args:
      store: where to look.
      artifact_ids: of the artifacts that are asked about.

    Returns:
      Ids of the artifacts, those asked about included, and ids of the executions that made them.
    """
    artifacts: set[int] = set()
    executions: set[int] = set()
    waiting = set(artifact_ids)
    while waiting:
        artifacts |= waiting
        events = store.get_events_by_artifact_ids(sorted(waiting))
        makers = {event.execution_id for event in events if event.type == mlmd.Event.OUTPUT} - executions
        executions |= makers
        waiting = inputs(store, makers) - artifacts
    return artifacts, executions


def inputs(store: metadata_store.MetadataStore, execution_ids: set[int]) -> set[int]:
    """Ids of the artifacts that executions read."""
    if not execution_ids:
        return set()
    events = store.get_events_by_execution_ids(sorted(execution_ids))
    return {event.artifact_id for event in events if event.type == mlmd.Event.INPUT}


def baseline(store: metadata_store.MetadataStore) -> mlmd.Artifact | None:
    """The model that the next run is compared with: as TFX's resolver has it, the blessed one with the highest id."""
    kinds = {kind.name for kind in store.get_artifact_types()}
    if not {"Model", "ModelBlessing"} <= kinds:
        return None
    blessings = [a.custom_properties for a in store.get_artifacts_by_type("ModelBlessing") if _is_live(a)]
    blessed = {p["current_model_id"].int_value for p in blessings if p["blessed"].int_value == 1}
    models = [a for a in store.get_artifacts_by_type("Model") if _is_live(a) and a.id in blessed]
    return max(models, key=lambda artifact: artifact.id, default=None)


def _is_live(artifact: mlmd.Artifact) -> bool:
    return artifact.state == mlmd.Artifact.LIVE
