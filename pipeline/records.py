"""What happened in each run, read from MLMD. Everything that reports on a run starts here."""

import itertools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.evaluator import SUMMARY
from components.example_gen.window import Window
from components.ingest.spans import read_record
from components.pusher import LIVE, NEW_VERSION, ROLLED_BACK
from components.refusal import refusal_file
from pipeline.blessings import NODE as HAND_BLESSING
from pipeline.blessings import Blessing, read_blessings
from pipeline.metadata_file import exists, snapshot
from pipeline.remote_metadata import connect
from pipeline.rollbacks import RecordedRollback, read_rollbacks
from pipeline.run_setup import read_setup
from pipeline.workspace import Workspace

INFERENCE = ".infer"
"""What the pipeline of batch inference has behind its name; a config's name holds no dot."""

GATES = ("AnomalyGate", "ModelCanary", "Conservation")
"""Nodes that raise when they refuse; the Evaluator refuses by a verdict."""

ERROR = "error"
"""Custom property of an execution that failed in a container of its own: what it raised, in one line."""

_STATES = metadata_store_pb2.Execution.State


@dataclass
class NodeRecord:
    """One node of a run.

    Attributes:
      state: running, complete, cached, failed or canceled.
      parameters: what it was told beside its inputs.
      inputs, outputs: artifacts by key.
    """

    pipeline: str
    name: str
    execution_id: int
    state: str
    seconds: float
    parameters: Mapping[str, metadata_store_pb2.Value] = field(default_factory=dict)
    inputs: dict[str, list[metadata_store_pb2.Artifact]] = field(default_factory=dict)
    outputs: dict[str, list[metadata_store_pb2.Artifact]] = field(default_factory=dict)

    def output(self, key: str) -> metadata_store_pb2.Artifact | None:
        return next(iter(self.outputs.get(key, [])), None)


@dataclass
class RunRecord:
    """One run, its nodes in the order of their start.

    Attributes:
      run_id: TFX's id of the run.
      started: seconds since 1970.
      nodes: by name.
      window: path of the list of spans it ran on, or None if it did not get there.
      spans: their numbers, ascending; all of them trained and the last one evaluated.
      verdict: running, interrupted, failed, refused, pushed (a new version), unchanged (it was live already), blessed
        (by hand after the gate refused it) or tuned.
      reasons: sentences, why it was refused or what failed.
      summary: the Evaluator's `summary`, or None if it did not get there.
      golden: `span`, `metrics`, `intervals` and more of the model on the golden span, or None without one.
      version: the version of the pushed model, or None.
      blessing: who blessed its model by hand, and why; or None.
      rollback: the last rollback that left its model or returned to it, or None.
    """

    run_id: str
    started: float
    nodes: dict[str, NodeRecord]
    window: str | None = None
    spans: list[int] = field(default_factory=list)
    verdict: str = "running"
    reasons: list[str] = field(default_factory=list)
    summary: dict | None = None
    golden: dict | None = None
    version: int | None = None
    blessing: Blessing | None = None
    rollback: RecordedRollback | None = None

    def output(self, node: str, key: str) -> metadata_store_pb2.Artifact | None:
        """An output artifact of a node that finished, or None."""
        record = self.nodes.get(node)
        return record.output(key) if record is not None and record.state in ("complete", "cached") else None


def run_summary(run: RunRecord) -> dict:
    """The run as plain JSON: for `status --json` and `report.json`."""
    summary = run.summary or {}
    return {
        "run_id": run.run_id,
        "started": run.started,
        "spans": run.spans,
        "verdict": run.verdict,
        "reasons": run.reasons,
        "version": run.version,
        "blessing": None if run.blessing is None else asdict(run.blessing),
        "rollback": None if run.rollback is None else run.rollback.model_dump(),
        "lost_baseline": summary.get("lost_baseline"),
        "metrics": summary.get("metrics"),
        "baseline": summary.get("baseline"),
        "slices": summary.get("slices"),
        "intervals": summary.get("intervals"),
        "slice_intervals": summary.get("slice_intervals"),
        "golden": run.golden,
        "nodes": {node.name: {"state": node.state, "seconds": node.seconds} for node in run.nodes.values()},
    }


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


def runs_of(workspace: Workspace, newest: int | None = None) -> list[RunRecord]:
    """As `list_runs`, wherever a workspace's runs are recorded.

    On a server many may go on at once: each does until its exit handler says that it has ended.

    Raises:
      SegpipeError: see `list_runs` and `pipeline.remote_metadata.connect`.
    """
    if workspace.server is None:
        return list_runs(workspace.metadata, newest, writing=workspace.is_held())
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
        _judge(run, workspace.pipeline_root, blessings)
        _roll_back(run, rollbacks)
        if run.verdict == "running" and run.run_id not in going:
            run.verdict = "interrupted"
        if run.verdict == "failed":
            run.reasons = raised(run) or _failure(run, workspace)
    return runs


def newest_run(metadata: str, kind: str = "") -> RunRecord | None:
    """The run of a kind that started last."""
    return next(iter(list_runs(metadata, newest=1, kind=kind)), None)


def read_run(store: metadata_store.MetadataStore, run_id: str, pipeline_root: str) -> RunRecord:
    """One run that has ended, from a database that is open."""
    run = _run(store, store.get_context_by_type_and_name("pipeline_run", run_id))
    _judge(run, pipeline_root, read_blessings(store))
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


def _judge(run: RunRecord, pipeline_root: str, blessings: dict[str, Blessing]) -> None:
    judged(run, lambda node: _refusal(pipeline_root, node), blessings)


def judged(
    run: RunRecord, reasons_of: Callable[[NodeRecord], list[str]], blessings: dict[str, Blessing] | None = None
) -> None:
    """Fills in verdict, reasons, summary, golden, version and blessing from the nodes' outputs.

    Args:
      run: what its nodes left.
      reasons_of: why a node refused; empty if it did not.
      blessings: see `read_blessings`.
    """
    run.summary, run.golden = _evaluation(run, "SegmentationEvaluator"), _golden(run)
    states = {node.state for node in run.nodes.values()}
    for name in GATES:
        if name in run.nodes and run.nodes[name].state == "failed":
            run.reasons = reasons_of(run.nodes[name])
    if run.reasons:
        run.verdict = "refused"
    elif "failed" in states or "canceled" in states:
        run.verdict = "failed"
    elif run.output("Tuner", "best_hyperparameters") is not None:
        run.verdict = "tuned"
    pushed = run.output("AtomicPusher", "pushed_model")
    if pushed is None:
        return
    if pushed.custom_properties["pushed"].int_value:
        run.version = int(pushed.custom_properties["pushed_version"].string_value)
        new = run.nodes["AtomicPusher"].state == "complete" and pushed.custom_properties[NEW_VERSION].int_value
        run.verdict = "pushed" if new else "unchanged"
    else:
        run.verdict, run.reasons = "refused", list((run.summary or {}).get("refusals", []))
        if ROLLED_BACK in pushed.custom_properties:
            who = pushed.custom_properties[ROLLED_BACK].string_value
            run.reasons.append(f"its model was {who}; segpipe rollback VERSION returns to it")
        _bless(run, reasons_of, blessings or {}, bool(pushed.custom_properties[LIVE].int_value))


def _bless(
    run: RunRecord, reasons_of: Callable[[NodeRecord], list[str]], blessings: dict[str, Blessing], live: bool
) -> None:
    """Says of a run that the gate refused what became of `segpipe bless`, before it or after it.

    A later run that takes a blessed model from the cache is refused again; nothing is wrong while that model is live.
    """
    attempt, model = run.nodes.get(HAND_BLESSING), run.output("Trainer", "model")
    blessing = blessings.get(model.uri) if model is not None else None
    before = blessing is not None and run.nodes["AtomicPusher"].execution_id < blessing.execution
    if blessing is not None and (before or live):
        run.verdict = "unchanged" if live else "blessed"
        run.blessing, run.version = blessing, blessing.version
    elif attempt is not None and attempt.state == "failed":
        run.reasons += reasons_of(attempt)


def _roll_back(run: RunRecord, rollbacks: list[RecordedRollback]) -> None:
    """Says of the run that trained a model, and of those that took it from the cache, what rollbacks did to it."""
    model = run.output("Trainer", "model")
    found = [r for r in rollbacks if model is not None and r.concerns(model.uri)]
    run.rollback = found[-1] if found else None
    if run.version is not None:
        run.version = max([run.version, *(r.version for r in found if r.origin == model.uri)])


def _evaluation(run: RunRecord, node: str) -> dict | None:
    evaluation = run.output(node, "evaluation")
    if evaluation is None or SUMMARY not in evaluation.custom_properties:
        return None
    return json.loads(evaluation.custom_properties[SUMMARY].string_value)


def _golden(run: RunRecord) -> dict | None:
    found, examples = _evaluation(run, "GoldenEvaluator"), run.output("GoldenExamples", "examples")
    if found is None:
        return None
    measured = {key: found[key] for key in ("metrics", "intervals", "slices", "slice_intervals")}
    return {"span": examples.custom_properties["span"].int_value} | measured


def raised(run: RunRecord) -> list[str]:
    """What nodes raised that ran in a container of their own, a sentence each."""
    broken = [node for node in run.nodes.values() if node.state == "failed" and ERROR in node.parameters]
    return [f"{node.name} failed: {node.parameters[ERROR].string_value}" for node in broken]


def _failure(run: RunRecord, workspace: Workspace) -> list[str]:
    setup = read_setup(workspace, run.run_id)
    broken = ", ".join(node.name for node in run.nodes.values() if node.state == "failed")
    return [f"{broken} failed: {setup.error}"] if setup is not None and setup.error else []


def _refusal(pipeline_root: str, node: NodeRecord) -> list[str]:
    path = refusal_file(os.path.join(pipeline_root, node.name), node.execution_id)
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        return json.load(file)
