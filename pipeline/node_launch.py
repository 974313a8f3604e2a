"""Launches one node of a pipeline in this process: what LocalDagRunner does in a loop, for a container that does one.

All steps of a run give the same run id, so that ML Metadata has one run of them. A step that is started again takes up
what its predecessor began.
"""

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

from pipeline.launching import InventoryLauncher
from pipeline.remote_metadata import Connection
from pipeline.resolvers import insisting

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


def launch_node(pipeline: pipeline_pb2.Pipeline, node_id: str, run_id: str, connection: Connection) -> bool:
    """Runs a node to its end, or takes its outputs from the cache.

    Args:
      pipeline: as compiled; the run's id is put into it.
      node_id: which node.
      run_id: the same in all steps of a run and in every try of each.
      connection: to ML Metadata.

    Returns:
      False if an earlier try of this step had finished the node already.

    Raises:
      Exception: whatever the node raises; its execution is recorded as failed.
    """
    substitute_runtime_parameter(pipeline, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    (node,) = [n.pipeline_node for n in pipeline.nodes if n.pipeline_node.node_info.id == node_id]
    with metadata.Metadata(connection) as handle:
        if _take_over(handle.store, node_id, run_id):
            return False
    deployment = extract_local_deployment_config(pipeline)
    Launcher(
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=pipeline.pipeline_info,
        pipeline_runtime_spec=pipeline.runtime_spec,
        executor_spec=extract_executor_spec(deployment, node_id),
        custom_driver_spec=extract_custom_driver_spec(deployment, node_id),
    ).launch()
    return True


def _take_over(store: metadata_store.MetadataStore, node_id: str, run_id: str) -> bool:
    """Closes what an earlier try left running; returns whether one had finished.

    TFX takes up the unfinished execution of a component, but begins a second one of a resolver, and whoever reads a
    resolver that has finished twice finds each of its models twice.
    """
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    if run is None:
        return False
    tries = [e for e in store.get_executions_by_context(run.id) if _is_of(store, e, node_id)]
    if any(execution.last_known_state in _FINISHED for execution in tries):
        return True
    left = [execution for execution in tries if execution.last_known_state in _UNFINISHED]
    for execution in left:
        execution.last_known_state = _Execution.FAILED
    if left:
        store.put_executions(left)
    return False


def _is_of(store: metadata_store.MetadataStore, execution: _Execution, node_id: str) -> bool:
    contexts = store.get_contexts_by_execution(execution.id)
    return any(c.type == "node" and c.name.rpartition(".")[2] == node_id for c in contexts)
