"""What happened in each run, read from MLMD. Everything that reports on a run starts here."""

import itertools
import os
from functools import partial

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.example_gen.window import Window
from components.ingest.spans import read_record
from pipeline.blessings import read_blessings
from pipeline.metadata_file import exists, snapshot
from pipeline.remote_metadata import connect
from pipeline.rollbacks import read_rollbacks
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.run_setup import read_setup
from pipeline.verdict import failure, judge, raised, refusal, roll_back
from pipeline.workspace import Workspace

INFERENCE = ".infer"
"""What the pipeline of batch inference has behind its name; a config's name holds no dot."""

_STATES = metadata_store_pb2.Execution.State


def list_runs(metadata: str, newest: int | None = None, writing: bool = False, kind: str = "") -> list[RunRecord]:
    """All runs of a workspace, oldest first.

    Args:
      metadata: path of the SQLite database, beside `pipeline_root/`; a missing one holds no runs.
      newest: how many of the newest runs to read; None reads all.
      writing: whether a process holds the workspace; without one, a run that did not end was interrupted.
      kind: `INFERENCE` lists the runs of batch inference; else all others are listed.

    Raises:
      SegpipeError: if the database is damaged, or gone while artifacts that it knew are there.
    """
    if not exists(metadata):
        return []
    workspace = Workspace(os.path.dirname(metadata))
    with snapshot(metadata) as store:
        contexts = _contexts(store)
        # Who writes here works on the run that started last, of whatever kind.
        going = {context.name for context in contexts[-1:]} if writing else set()
        return _read(store, contexts, going, workspace, newest, kind)


def runs_of(workspace: Workspace, newest: int | None = None, holding: bool = False) -> list[RunRecord]:
    """As `list_runs`, wherever a workspace's runs are recorded.

    On a server many may go on at once: each does until its exit handler says that it has ended.

    Args:
      workspace: whose runs.
      newest: how many of the newest runs to read; None reads all.
      holding: whether the caller itself holds the workspace, so that no run does.

    Raises:
      SegpipeError: see `list_runs` and `pipeline.remote_metadata.connect`.
    """
    if workspace.server is None:
        return list_runs(workspace.metadata, newest, writing=not holding and workspace.is_held())
    store = connect(workspace.server, patience=10, create=False)
    contexts = _contexts(store)
    going = {context.name for context in contexts if not _has_ended(workspace, context.name)}
    return _read(store, contexts, going, workspace, newest)


def _has_ended(workspace: Workspace, run_id: str) -> bool:
    setup = read_setup(workspace, run_id)
    return setup is not None and setup.ended is not None


def _contexts(store: metadata_store.MetadataStore) -> list[metadata_store_pb2.Context]:
    """Of all runs, in the order in which they started."""
    types = {t.name for t in store.get_context_types()}
    contexts = store.get_contexts_by_type("pipeline_run") if "pipeline_run" in types else []
    return sorted(contexts, key=lambda context: context.id)


def _read(
    store: metadata_store.MetadataStore,
    contexts: list[metadata_store_pb2.Context],
    going: set[str],
    workspace: Workspace,
    newest: int | None,
    kind: str = "",
) -> list[RunRecord]:
    """The newest runs of a kind, oldest first; `going` are the ids of those that a process may work on."""
    read = (_run(store, context) for context in reversed(contexts))
    runs = list(itertools.islice((run for run in read if _kind(run) == kind), newest))[::-1]
    blessings, rollbacks = read_blessings(store), read_rollbacks(store)
    for run in runs:
        judge(run, partial(refusal, workspace.pipeline_root), blessings)
        roll_back(run, rollbacks)
        if run.verdict == "running" and run.run_id not in going:
            run.verdict = "interrupted"
        if run.verdict == "failed":
            run.reasons = raised(run) or failure(run, workspace)
    return runs


def newest_run(metadata: str, kind: str = "") -> RunRecord | None:
    """The run of a kind that started last."""
    return next(iter(list_runs(metadata, newest=1, kind=kind)), None)


def read_run(store: metadata_store.MetadataStore, run_id: str, pipeline_root: str) -> RunRecord:
    """One run that has ended, from a database that is open."""
    run = _run(store, store.get_context_by_type_and_name("pipeline_run", run_id))
    judge(run, partial(refusal, pipeline_root), read_blessings(store))
    return run


def _kind(run: RunRecord) -> str:
    return INFERENCE if any(node.pipeline.endswith(INFERENCE) for node in run.nodes.values()) else ""


def _run(store: metadata_store.MetadataStore, context: metadata_store_pb2.Context) -> RunRecord:
    executions = sorted(store.get_executions_by_context(context.id), key=lambda execution: execution.id)
    events = store.get_events_by_execution_ids([e.id for e in executions]) if executions else []
    kinds = {metadata_store_pb2.Event.INPUT: "inputs", metadata_store_pb2.Event.OUTPUT: "outputs"}
    events = [event for event in events if event.type in kinds]
    artifact_ids = [event.artifact_id for event in events]
    artifacts = {a.id: a for a in store.get_artifacts_by_id(artifact_ids)} if artifact_ids else {}
    nodes = {}
    for execution in executions:
        node = _node(store, execution)
        for event in events:
            if event.execution_id == execution.id:
                artifacts_by_key = getattr(node, kinds[event.type])
                artifacts_by_key.setdefault(event.path.steps[0].key, []).append(artifacts[event.artifact_id])
        nodes[node.name] = node
    started = executions[0].create_time_since_epoch if executions else context.create_time_since_epoch
    example_gen = nodes.get("SpanExampleGen")
    window = None if example_gen is None else example_gen.parameters["window"].string_value
    return RunRecord(context.name, started / 1000, nodes, window, spans_of(window))


def _node(store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution) -> NodeRecord:
    contexts = store.get_contexts_by_execution(execution.id)
    # TFX names the context of a node `<pipeline>.<node>`.
    pipeline, _, name = next(c.name.rpartition(".") for c in contexts if c.type == "node")
    # A clock that was set back in between makes this negative.
    spent = max(0, execution.last_update_time_since_epoch - execution.create_time_since_epoch)
    state = _STATES.Name(execution.last_known_state).lower()
    return NodeRecord(pipeline, name, execution.id, state, spent / 1000, execution.custom_properties)


def spans_of(window: str | None) -> list[int]:
    """Numbers of the spans of a window, ascending; empty if its file is gone."""
    known = window is not None and os.path.isfile(window)
    return [span.number for span in read_record(window, Window).spans] if known else []
