"""HandBlessing: the execution that `segpipe bless` adds to a run.

It does what ModelCanary and AtomicPusher do in a run, by their own code, and leaves the same outputs in MLMD, with the
reason and the login name. The verdict of the Evaluator stands as it was recorded.

TFX takes as baseline the blessed model whose artifact has the highest id. So the blessed model is recorded anew, as an
output of HandBlessing under the same URI: it is the next baseline also if a model trained later was blessed before.
"""

import os

from ml_metadata.proto import metadata_store_pb2
from tfx.components.evaluator import constants
from tfx.orchestration import metadata
from tfx.orchestration.portable import execution_publish_utils as publishing
from tfx.orchestration.portable import outputs_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types import artifact, artifact_utils, standard_artifacts

from components.model_canary.executor import Executor as Canary
from components.pusher import BY_HAND
from components.pusher.executor import Executor as Pusher
from pipeline.blessings import BLESSED_BY, NODE, REASON, VERSION
from pipeline.remote_metadata import Connection, connection
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace

_Artifacts = dict[str, list[artifact.Artifact]]


def push_by_hand(workspace: Workspace, run: RunRecord, reason: str, by: str) -> None:
    """Adds the execution HandBlessing to a run that the gate refused.

    Args:
      workspace: whose lock the caller holds.
      run: with its model and its examples in place.
      reason: why.
      by: who, a login name.

    Raises:
      RefusedError: if the canary refuses the model; the execution is recorded as failed.
    """
    signed = {REASON: reason, BLESSED_BY: by}
    with metadata.Metadata(_connection(workspace)) as handle:
        contexts = _contexts(handle, run)
        inputs = {
            "model": [_artifact(handle, run.output("Trainer", "model"))],
            "examples": [_artifact(handle, run.output("SpanExampleGen", "examples"))],
        }
        kind = metadata_store_pb2.ExecutionType(name=NODE)
        execution = publishing.register_execution(handle, kind, contexts, inputs, signed)
        outputs = _outputs(os.path.join(workspace.pipeline_root, NODE), execution.id, inputs["model"][0].uri)
        outputs_utils.make_output_dirs(outputs)
        try:
            execution_lib.register_output_artifacts(handle, execution.id, outputs)
            _probe_and_push(workspace.serving, inputs, outputs, signed)
        except BaseException:
            outputs_utils.remove_output_dirs(outputs)
            publishing.publish_failed_execution(handle, contexts, execution.id)
            raise
        publishing.publish_succeeded_execution(handle, execution.id, contexts, outputs)


def _connection(workspace: Workspace) -> Connection:
    if workspace.server is None:
        return metadata.sqlite_metadata_connection_config(workspace.metadata)
    return connection(workspace.server)


def _contexts(handle: metadata.Metadata, run: RunRecord) -> list[metadata_store_pb2.Context]:
    """The contexts that TFX gives every execution of a run: pipeline, run and node."""
    of_trainer = {c.type: c for c in handle.store.get_contexts_by_execution(run.nodes["Trainer"].execution_id)}
    pipeline = of_trainer["pipeline"]
    node = context_lib.register_context_if_not_exists(handle, "node", f"{pipeline.name}.{NODE}")
    return [pipeline, of_trainer["pipeline_run"], node]


def _artifact(handle: metadata.Metadata, record: metadata_store_pb2.Artifact) -> artifact.Artifact:
    """TFX's view of an artifact that MLMD holds."""
    (kind,) = handle.store.get_artifact_types_by_id([record.type_id])
    return artifact_utils.deserialize_artifact(kind, record)


def _outputs(folder: str, execution_id: int, model_uri: str) -> _Artifacts:
    kinds = {
        "infra_blessing": standard_artifacts.InfraBlessing,
        "blessing": standard_artifacts.ModelBlessing,
        "pushed_model": standard_artifacts.PushedModel,
        "model": standard_artifacts.Model,
    }
    outputs = {key: [kind()] for key, kind in kinds.items()}
    for key, (made,) in outputs.items():
        made.uri = os.path.join(folder, key, str(execution_id))
    # Its files are the Trainer's: external keeps TFX from making or removing them.
    outputs["model"][0].uri, outputs["model"][0].is_external = model_uri, True
    return outputs


def _probe_and_push(serving: str, inputs: _Artifacts, outputs: _Artifacts, signed: dict[str, str]) -> None:
    """Canary, blessing and push of `inputs["model"]`, in this order; fills in the properties of the outputs.

    Raises:
      RefusedError: if the canary refuses the model.
    """
    Canary().Do(inputs, {"blessing": outputs["infra_blessing"]}, {})
    (blessing,), (pushed,), (model,) = outputs["blessing"], outputs["pushed_model"], outputs["model"]
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.BLESSED_VALUE)
    target = {"serving_folder": serving, BY_HAND: True}
    blessings = {"model_blessing": [blessing], "infra_blessing": outputs["infra_blessing"]}
    Pusher().Do({"model": inputs["model"]} | blessings, {"pushed_model": [pushed]}, target)
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    blessing.set_int_custom_property(VERSION, int(pushed.get_string_custom_property("pushed_version")))
    for key, value in signed.items():
        blessing.set_string_custom_property(key, value)
