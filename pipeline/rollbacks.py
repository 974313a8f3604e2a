"""Rollbacks, as MLMD holds them: an execution in the run whose model went live again.

TFX takes as baseline the blessed model whose artifact has the highest id. So a rollback takes the blessing from the
model that it left, and records the model that it returned to anew, blessed, under the URI that its files have.
"""

import os

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import SegpipeError
from components.pusher.versions import Rollback

NODE = "Rollback"
"""The node, and the type of its executions, that `segpipe rollback` adds to a run."""
_ORIGIN, _VERSION = "origin", "pushed_version"
# Custom properties of ModelBlessing, as TFX's Evaluator writes and its resolver reads them.
_BLESSED, _MODEL_ID, _MODEL_URI = "blessed", "current_model_id", "current_model"
_REVOKED = "revoked"


class RecordedRollback(Rollback):
    """A rollback with the version that it made and the URI of the model that is live since."""

    version: int
    origin: str

    def concerns(self, model: str) -> bool:
        """Whether it left or returned to a model, by URI."""
        return model in (self.left_origin, self.origin)


def read_rollbacks(store: metadata_store.MetadataStore) -> list[RecordedRollback]:
    """All rollbacks of a workspace, oldest first."""
    if not any(kind.name == NODE for kind in store.get_execution_types()):
        return []
    executions = sorted(store.get_executions_by_type(NODE), key=lambda execution: execution.id)
    return [_read(execution.custom_properties) for execution in executions]


def _read(properties) -> RecordedRollback:
    return RecordedRollback(
        reason=properties["reason"].string_value,
        by=properties["by"].string_value,
        at=properties["at"].double_value,
        left=properties["left"].int_value,
        left_origin=properties["left_origin"].string_value or None,
        returned_to=properties["returned_to"].int_value,
        version=properties[_VERSION].int_value,
        origin=properties[_ORIGIN].string_value,
    )


def find_model(store: metadata_store.MetadataStore, origin: str) -> mlmd.Artifact | None:
    """The artifact of a model by its URI, as the Trainer made it."""
    models = [a for a in store.get_artifacts_by_uri(origin) if a.state == mlmd.Artifact.LIVE]
    return min(models, key=lambda artifact: artifact.id, default=None)


def known_model(store: metadata_store.MetadataStore, origin: str) -> mlmd.Artifact:
    """See `find_model`.

    Raises:
      SegpipeError: if no run of this workspace made it.
    """
    model = find_model(store, origin)
    if model is None:
        raise SegpipeError(
            f"{origin}: no run of this workspace made this model, so that a rollback could not be recorded; choose a "
            f"version that was trained here"
        )
    return model


def record(store: metadata_store.MetadataStore, origin: str, version: int, rollback: Rollback, folder: str) -> None:
    """Writes one execution, in one transaction.

    Args:
      store: the workspace's metadata.
      origin: URI of the model that is live since.
      version: the version it became.
      rollback: who, when, why, and from where.
      folder: where the artifacts of the rollback get their folders.
    """
    model = known_model(store, origin)
    again = mlmd.Artifact(type_id=model.type_id, uri=origin, state=mlmd.Artifact.PENDING)
    again.custom_properties["is_external"].int_value = 1
    # The blessing must name the id, which MLMD gives; until the execution makes it live, nobody sees the artifact.
    (again.id,) = store.put_artifacts([again])
    again.state = mlmd.Artifact.LIVE

    blessing = _new(store, "ModelBlessing", os.path.join(folder, "blessing", str(version)))
    _set(blessing, **{_BLESSED: 1, _MODEL_ID: again.id, _MODEL_URI: origin})
    pushed = _new(store, "PushedModel", os.path.join(folder, "pushed_model", str(version)))
    _set(pushed, pushed=1, **{_VERSION: str(version)})
    outputs = {"model": again, "blessing": blessing, "pushed_model": pushed}

    revoked = _blessings(store, rollback.left_origin) if rollback.left_origin != origin else []
    for artifact in revoked:
        _set(artifact, **{_BLESSED: 0, _REVOKED: str(rollback)})

    pairs = [(model, _event(mlmd.Event.INPUT, "model"))]
    # Without an event: what was left is no part of where the live model came from.
    pairs += [(artifact, None) for artifact in revoked]
    pairs += [(artifact, _event(mlmd.Event.OUTPUT, key)) for key, artifact in outputs.items()]
    store.put_execution(_execution(store, origin, version, rollback), pairs, _contexts(store, model))


def _execution(store, origin: str, version: int, rollback: Rollback) -> mlmd.Execution:
    kind = store.put_execution_type(mlmd.ExecutionType(name=NODE))
    execution = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.COMPLETE)
    values = rollback.model_dump() | {"left_origin": rollback.left_origin or "", _ORIGIN: origin, _VERSION: version}
    _set(execution, **values)
    return execution


def _contexts(store, model: mlmd.Artifact) -> list[mlmd.Context]:
    """The contexts that TFX gives every execution of the run that trained the model: pipeline, run and node."""
    made = min((e for e in store.get_events_by_artifact_ids([model.id])), key=lambda event: event.execution_id)
    found = {context.type: context for context in store.get_contexts_by_execution(made.execution_id)}
    name = f"{found['pipeline'].name}.{NODE}"
    node = store.get_context_by_type_and_name("node", name)
    if node is None:
        (kind,) = [kind.id for kind in store.get_context_types() if kind.name == "node"]
        node = mlmd.Context(type_id=kind, name=name)
        (node.id,) = store.put_contexts([node])
    return [found["pipeline"], found["pipeline_run"], node]


def _blessings(store, model_uri: str | None) -> list[mlmd.Artifact]:
    """The blessings that hold a model up as a baseline."""
    return [
        artifact
        for artifact in store.get_artifacts_by_type("ModelBlessing")
        if artifact.custom_properties[_MODEL_URI].string_value == model_uri
        and artifact.custom_properties[_BLESSED].int_value
    ]


def _new(store, kind: str, uri: str) -> mlmd.Artifact:
    os.makedirs(uri, exist_ok=True)
    return mlmd.Artifact(type_id=store.get_artifact_type(kind).id, uri=uri, state=mlmd.Artifact.LIVE)


def _set(message: mlmd.Artifact | mlmd.Execution, **values: int | float | str) -> None:
    fields = {int: "int_value", float: "double_value", str: "string_value"}
    for key, value in values.items():
        setattr(message.custom_properties[key], fields[type(value)], value)


def _event(kind: mlmd.Event.Type, key: str) -> mlmd.Event:
    steps = [mlmd.Event.Path.Step(key=key), mlmd.Event.Path.Step(index=0)]
    return mlmd.Event(type=kind, path=mlmd.Event.Path(steps=steps))
