"""Launches one node of a pipeline in this process: what LocalDagRunner does in a loop, for a container that does one.

All steps of a run give the same run id, so that ML Metadata has one run of them. A step that is started again takes up
what its predecessor began.
"""

import json
import os

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.orchestration import metadata
from tfx.orchestration.local.runner_utils import (
    extract_custom_driver_spec,
    extract_executor_spec,
    extract_local_deployment_config,
)
from tfx.orchestration.portable.mlmd import common_utils
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter
from tfx.proto.orchestration import pipeline_pb2

from components.errors import RefusedError, in_one_line
from components.refusal import refusal_file
from pipeline.launching import InventoryLauncher
from pipeline.remote_metadata import Connection
from pipeline.resolvers import insisting
from pipeline.verdict import ERROR

_Execution = metadata_store_pb2.Execution
_UNFINISHED = (_Execution.NEW, _Execution.RUNNING)
_FINISHED = (_Execution.COMPLETE, _Execution.CACHED)

Launcher = insisting(InventoryLauncher)


def node_ids(pipeline: pipeline_pb2.Pipeline) -> dict[str, list[str]]:
    """Every node, in an order in which they may run, with those that it waits for."""
    return {node.pipeline_node.node_info.id: list(node.pipeline_node.upstream_nodes) for node in pipeline.nodes}


def register_types(pipeline: pipeline_pb2.Pipeline, connection: Connection) -> None:
    """Tells ML Metadata the types of all nodes.

    It does not keep two clients from registering a type twice at the same moment, after which nobody can look that type
    up; so this is for one client at a time, before any node runs.
    """
    with metadata.Metadata(connection) as handle:
        for node in pipeline.nodes:
            node = node.pipeline_node
            kinds = [node.node_info.type, *(context.type for context in node.contexts.contexts)]
            kinds += [output.artifact_spec.type for output in node.outputs.outputs.values()]
            for kind in kinds:
                common_utils.register_type_if_not_exist(handle, kind)


def launch_node(
    pipeline: pipeline_pb2.Pipeline,
    node_id: str,
    run_id: str,
    connection: Connection,
    launcher: type[InventoryLauncher] = Launcher,
) -> bool:
    """Runs a node to its end, or takes its outputs from the cache.

    Args:
      pipeline: as compiled; the run's id is put into it.
      node_id: which node.
      run_id: the same in all steps of a run and in every try of each.
      connection: to ML Metadata.
      launcher: that launches it.

    Returns:
      False if an earlier try of this step had finished the node already.

    Raises:
      RefusedError: if the node refuses, or did in an earlier try: a refusal is not asked for again.
      Exception: whatever the node raises; its execution is recorded as failed, and with what it raised.
    """
    substitute_runtime_parameter(pipeline, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    (node,) = [n.pipeline_node for n in pipeline.nodes if n.pipeline_node.node_info.id == node_id]
    with metadata.Metadata(connection) as handle:
        if _take_over(handle.store, node_id, run_id):
            return False
        _insist_on_refusal(handle.store, node_id, run_id, pipeline.runtime_spec.pipeline_root.field_value.string_value)
    deployment = extract_local_deployment_config(pipeline)
    try:
        launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(connection),
            pipeline_info=pipeline.pipeline_info,
            pipeline_runtime_spec=pipeline.runtime_spec,
            executor_spec=extract_executor_spec(deployment, node_id),
            custom_driver_spec=extract_custom_driver_spec(deployment, node_id),
        ).launch()
    except Exception as error:
        with metadata.Metadata(connection) as handle:
            _tell(handle.store, node_id, run_id, error)
        raise
    return True


def _take_over(store: metadata_store.MetadataStore, node_id: str, run_id: str) -> bool:
    """Closes what an earlier try left running; returns whether one had finished.

    TFX takes up the unfinished execution of a component, but begins a second one of a resolver, and whoever reads a
    resolver that has finished twice finds each of its models twice.
    """
    tries = _tries(store, node_id, run_id)
    if any(execution.last_known_state in _FINISHED for execution in tries):
        return True
    left = [execution for execution in tries if execution.last_known_state in _UNFINISHED]
    for execution in left:
        execution.last_known_state = _Execution.FAILED
    if left:
        store.put_executions(left)
    return False


def _insist_on_refusal(store: metadata_store.MetadataStore, node_id: str, run_id: str, pipeline_root: str) -> None:
    """Refuses again, with the same reasons, what an earlier try has refused."""
    for execution in _tries(store, node_id, run_id):
        path = refusal_file(os.path.join(pipeline_root, node_id), execution.id)
        if execution.last_known_state == _Execution.FAILED and os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                raise RefusedError("; ".join(json.load(file)))


def _tell(store: metadata_store.MetadataStore, node_id: str, run_id: str, error: Exception) -> None:
    """Leaves with the executions that failed what was raised, for the report."""
    failed = [e for e in _tries(store, node_id, run_id) if e.last_known_state == _Execution.FAILED]
    for execution in failed:
        execution.custom_properties[ERROR].string_value = in_one_line(error)
    if failed:
        store.put_executions(failed)


def _tries(store: metadata_store.MetadataStore, node_id: str, run_id: str) -> list[_Execution]:
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    executions = [] if run is None else store.get_executions_by_context(run.id)
    return [execution for execution in executions if _is_of(store, execution, node_id)]


def _is_of(store: metadata_store.MetadataStore, execution: _Execution, node_id: str) -> bool:
    contexts = store.get_contexts_by_execution(execution.id)
    return any(c.type == "node" and c.name.rpartition(".")[2] == node_id for c in contexts)
