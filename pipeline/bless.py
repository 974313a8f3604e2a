"""`segpipe bless` from the command line's view: which run may be blessed, the lock, the log and the report."""

import os
import time
import traceback

from components.errors import RefusedError, SegpipeError, UsageError
from pipeline.blessings import login_name
from pipeline.execute import failure
from pipeline.progress import output_to
from pipeline.records import runs_of
from pipeline.report import find_run, write_report
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace


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
      RefusedError: if canary, AnomalyGate or Conservation refused the run, or the canary refuses the model now.
      SegpipeError: if the workspace is in use, files of the run are gone, or something breaks; it names the log.
    """
    if not reason.strip():
        raise UsageError("--reason is empty; say why the model is to be pushed although the gate refused it")
    # A name that nobody knows must not make a workspace, which taking its lock does.
    find_run(workspace, name, runs_of(workspace))
    with workspace.writer("bless"):
        run = find_run(workspace, name, runs_of(workspace, holding=True))
        if run.blessing is not None:
            return run, False
        _check(run)
        log = os.path.join(workspace.logs, time.strftime("bless-%Y%m%d-%H%M%S.log"))
        with output_to(log) as console, console.status("asking the model about photos"):
            try:
                from absl import logging

                from pipeline.hand_blessing import push_by_hand

                logging.set_verbosity(logging.INFO)
                push_by_hand(workspace, run, reason.strip(), login_name())
                blessed = find_run(workspace, run.run_id, runs_of(workspace))
                write_report(workspace, run.run_id)
            except RefusedError as error:
                raise RefusedError(f"run {run.run_id} is not blessed: {error}; mend the model and run again") from error
            except Exception as error:  # noqa: BLE001, whatever TFX or the disk raises must be told
                traceback.print_exc()
                raise failure("bless", error, log) from error
    return blessed, True


def _check(run: RunRecord) -> None:
    """Raises unless the Evaluator's gate, and nothing else, stood between the model and the push."""
    for node, what in (
        ("AnomalyGate", "AnomalyGate refused its data"),
        ("ModelCanary", "the canary failed it"),
        ("Conservation", "it lost examples on the way"),
    ):
        if run.verdict == "refused" and node in run.nodes and run.nodes[node].state == "failed":
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
