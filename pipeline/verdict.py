"""What became of a run, told from what its nodes left."""

import json
import os
from collections.abc import Callable

from components.evaluator import SUMMARY
from components.pusher import LIVE, NEW_VERSION, ROLLED_BACK
from components.refusal import refusal_file
from pipeline.blessings import NODE as HAND_BLESSING
from pipeline.blessings import Blessing
from pipeline.rollbacks import RecordedRollback
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.run_setup import read_setup
from pipeline.workspace import Workspace

GATES = ("AnomalyGate", "ModelCanary", "Conservation")
"""Nodes that raise when they refuse; the Evaluator refuses by a verdict."""

ERROR = "error"
"""Custom property of an execution that failed in a container of its own: what it raised, in one line."""


def judge(
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


def roll_back(run: RunRecord, rollbacks: list[RecordedRollback]) -> None:
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


def failure(run: RunRecord, workspace: Workspace) -> list[str]:
    """What the process of a run noted that it raised, as one sentence; empty if it noted nothing."""
    setup = read_setup(workspace, run.run_id)
    broken = ", ".join(node.name for node in run.nodes.values() if node.state == "failed")
    return [f"{broken} failed: {setup.error}"] if setup is not None and setup.error else []


def refusal(pipeline_root: str, node: NodeRecord) -> list[str]:
    """Why one of `GATES` refused; empty if it broke instead."""
    path = refusal_file(os.path.join(pipeline_root, node.name), node.execution_id)
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        return json.load(file)
