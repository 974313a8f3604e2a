"""`segpipe bless`: a person takes a model that the gate refused through canary and push, and signs for it.

The gate's verdict stands as it was recorded. The run gets one more execution, HandBlessing, which does what ModelCanary and
AtomicPusher do in a run, by their own code, and leaves the same outputs in MLMD, with the reason and the login name.

TFX takes as baseline the blessed model whose artifact has the highest id. So the blessed model is recorded anew, as an
output of HandBlessing under the same URI: it is the next baseline also if a model trained later was blessed before.
"""

import getpass
import os
import time
import traceback

from components.errors import RefusedError, SegpipeError, UsageError
from pipeline.blessings import BLESSED_BY, NODE, REASON, VERSION
from pipeline.execute import failure, write_report
from pipeline.progress import output_to
from pipeline.records import RunRecord, list_runs
from pipeline.workspace import Workspace

LATEST = "latest"


def bless(workspace: Workspace, name: str, reason: str) -> tuple[RunRecord, bool]:
    """Probes the model of a refused run again and pushes it, as the only writer of the workspace.

    Args:
      workspace: where the run is.
      name: id of the run, or `latest`.
      reason: why the gate is overruled; it is recorded.

    Returns:
      The run as it is recorded afterwards, and whether this call has blessed it; False if it was blessed before.

    Raises:
      UsageError: if there is no reason, no such run, or the gate did not refuse it.
      RefusedError: if the canary or the AnomalyGate refused the run, or the canary refuses the model now.
      SegpipeError: if the workspace is in use, files of the run are gone, or something breaks; it names the log.
    """
    if not reason.strip():
        raise UsageError("--reason is empty; say why the model is to be pushed although the gate refused it")
    # A name that nobody knows must not make a workspace, which taking its lock does.
    _find(workspace, name)
    with workspace.writer("bless"):
        run = _find(workspace, name)
        if run.blessing is not None:
            return run, False
        _check(run)
        log = os.path.join(workspace.logs, time.strftime("bless-%Y%m%d-%H%M%S.log"))
        with output_to(log) as console, console.status("asking the model about photos"):
            try:
                _push_by_hand(workspace, run, reason.strip())
                blessed = _find(workspace, run.run_id)
                write_report(workspace, blessed)
            except RefusedError as error:
                raise RefusedError(f"run {run.run_id} is not blessed: {error}; mend the model and run again") from error
            except Exception as error:  # noqa: BLE001, whatever TFX or the disk raises must be told
                traceback.print_exc()
                raise failure("bless", error, log) from error
    return blessed, True


def _find(workspace: Workspace, name: str) -> RunRecord:
    runs = {run.run_id: run for run in list_runs(workspace.metadata)}
    if not runs:
        raise UsageError(f"no run in {workspace.root} yet; run segpipe run --workspace {workspace.root} first")
    if name == LATEST:
        return list(runs.values())[-1]
    if name not in runs:
        raise UsageError(f"RUN {name}: no such run; segpipe status --workspace {workspace.root} lists them")
    return runs[name]


def _check(run: RunRecord) -> None:
    """Raises unless the Evaluator's gate, and nothing else, stood between the model and the push."""
    for node, what in (("AnomalyGate", "its data do not fit the schema"), ("ModelCanary", "the canary failed it")):
        if run.verdict == "refused" and run.nodes[node].state == "failed":
            raise RefusedError(
                f"run {run.run_id} cannot be blessed, {what}: {'; '.join(run.reasons)}; mend the cause and run again"
            )
    if run.verdict != "refused":
        version = "" if run.version is None else f" as version {run.version}"
        raise UsageError(
            f"run {run.run_id} is {run.verdict}{version}; only a run whose model the gate refused can be blessed"
        )
    for node, key, part in (("Trainer", "model", "Format-Serving"), ("SpanExampleGen", "examples", "Split-eval")):
        path = os.path.join(run.output(node, key).uri, part)
        if not os.path.isdir(path):
            raise SegpipeError(f"{path} is gone; run segpipe run to make the {key} again, then bless that run")


def _push_by_hand(workspace: Workspace, run: RunRecord, reason: str) -> None:
    """The execution HandBlessing of a run, from its registration to its outputs."""
    from ml_metadata.proto import metadata_store_pb2
    from tfx.orchestration import metadata
    from tfx.orchestration.portable import execution_publish_utils as publishing
    from tfx.orchestration.portable import outputs_utils
    from tfx.orchestration.portable.mlmd import execution_lib

    signed = {REASON: reason, BLESSED_BY: _user()}
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(workspace.metadata)) as handle:
        contexts = _contexts(handle, run)
        inputs = {
            "model": [_artifact(handle, run.output("Trainer", "model"))],
            "examples": [_artifact(handle, run.output("SpanExampleGen", "examples"))],
        }
        kind = metadata_store_pb2.ExecutionType(name=NODE)
        execution = publishing.register_execution(handle, kind, contexts, inputs, signed)
        outputs = _outputs(os.path.join(workspace.pipeline_root, NODE), execution.id, inputs["model"][0].uri)
        try:
            execution_lib.register_output_artifacts(handle, execution.id, outputs)
            outputs_utils.make_output_dirs(outputs)
            _probe_and_push(workspace.serving, inputs, outputs, signed)
        except BaseException:
            outputs_utils.remove_output_dirs(outputs)
            publishing.publish_failed_execution(handle, contexts, execution.id)
            raise
        publishing.publish_succeeded_execution(handle, execution.id, contexts, outputs)


def _user() -> str:
    try:
        return getpass.getuser()
    except KeyError:
        # A container may run under a number that no account has.
        return f"uid {os.getuid()}"


def _contexts(handle, run: RunRecord) -> list:
    """The contexts that TFX gives every execution of a run: pipeline, run and node."""
    from tfx.orchestration.portable.mlmd import context_lib

    of_trainer = {c.type: c for c in handle.store.get_contexts_by_execution(run.nodes["Trainer"].execution_id)}
    pipeline = of_trainer["pipeline"]
    node = context_lib.register_context_if_not_exists(handle, "node", f"{pipeline.name}.{NODE}")
    return [pipeline, of_trainer["pipeline_run"], node]


def _artifact(handle, record):
    """TFX's view of an artifact that MLMD holds."""
    from tfx.types import artifact_utils

    (kind,) = handle.store.get_artifact_types_by_id([record.type_id])
    return artifact_utils.deserialize_artifact(kind, record)


def _outputs(folder: str, execution_id: int, model_uri: str) -> dict:
    from tfx.types import standard_artifacts as types

    kinds = {
        "infra_blessing": types.InfraBlessing,
        "blessing": types.ModelBlessing,
        "pushed_model": types.PushedModel,
        "model": types.Model,
    }
    outputs = {key: [kind()] for key, kind in kinds.items()}
    for key, (artifact,) in outputs.items():
        artifact.uri = os.path.join(folder, key, str(execution_id))
    # Its files are the Trainer's: external keeps TFX from making or removing them.
    outputs["model"][0].uri, outputs["model"][0].is_external = model_uri, True
    return outputs


def _probe_and_push(serving: str, inputs: dict, outputs: dict, signed: dict[str, str]) -> None:
    """Canary, blessing and push of `inputs["model"]`, in this order; fills in the properties of the outputs.

    Raises:
      RefusedError: if the canary refuses the model.
    """
    from tfx.components.evaluator import constants

    from components.model_canary.executor import Executor as Canary
    from components.pusher.executor import Executor as Pusher

    Canary().Do(inputs, {"blessing": outputs["infra_blessing"]}, {})
    (blessing,), (pushed,), (model,) = outputs["blessing"], outputs["pushed_model"], outputs["model"]
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.BLESSED_VALUE)
    blessings = {"model_blessing": [blessing], "infra_blessing": outputs["infra_blessing"]}
    Pusher().Do({"model": inputs["model"]} | blessings, {"pushed_model": [pushed]}, {"serving_folder": serving})
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    blessing.set_int_custom_property(VERSION, int(pushed.get_string_custom_property("pushed_version")))
    for key, value in signed.items():
        blessing.set_string_custom_property(key, value)
