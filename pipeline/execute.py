"""One run from the command line's view: progress on the terminal, the log in a file, a report at the end."""

import json
import os
import time
import traceback
from dataclasses import dataclass

from components.errors import SegpipeError
from pipeline.config import Config
from pipeline.plan import plan
from pipeline.progress import RunProgress, output_to
from pipeline.records import RunRecord, newest_run, run_summary
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Execution:
    """A finished run: its record, its log, and the folder of its report."""

    run: RunRecord
    log: str
    report: str


def execute(config: Config, workspace: Workspace, engine: str, span: int | None, quiet: bool) -> Execution:
    """Runs the pipeline and makes its report.

    Args:
      config: everything a user may choose.
      workspace: where to.
      engine: `local` or `beam`.
      span: which span; None takes the newest.
      quiet: write no progress.

    Returns:
      The run, whether pushed, unchanged or refused.

    Raises:
      UsageError: before anything starts, if span, schema or config do not fit.
      SegpipeError: if a component failed; it names the component and the log.
    """
    plan(config, workspace, span)
    log = os.path.join(workspace.logs, time.strftime("run-%Y%m%d-%H%M%S.log"))
    before = newest_run(workspace.metadata)
    with output_to(log) as console, RunProgress(console, quiet) as progress:
        problem = _run(config, workspace, engine, span, progress)
        run = newest_run(workspace.metadata)
        if run is None or (before is not None and run.run_id == before.run_id):
            raise problem if isinstance(problem, SegpipeError) else failure("the run", problem, log)
        report = write_report(workspace, run)
    if problem is not None and run.verdict != "refused":
        raise failure(progress.node or "the run", problem, log) from problem
    return Execution(run, log, report)


def _run(
    config: Config, workspace: Workspace, engine: str, span: int | None, progress: RunProgress
) -> Exception | None:
    """What a component raised, or None. TFX's runners let any exception through, so any must be caught to be told."""
    from absl import logging

    from pipeline import local_runner

    logging.set_verbosity(logging.INFO)
    progress.listen()
    try:
        local_runner.run(config, workspace, engine, span)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        return error
    return None


def failure(what: str, problem: Exception | None, log: str) -> SegpipeError:
    """The sentence for what broke, naming the log; `problem` is None if nothing was raised and nothing recorded."""
    last = traceback.format_exception_only(problem)[-1].strip().splitlines() if problem else ["it left no record"]
    return SegpipeError(f"{what} failed ({last[0]}); the log is {log}; mend the cause and run again")


def write_report(workspace: Workspace, run: RunRecord) -> str:
    """Writes `report.json` and the picture of a run, over those of before; returns their folder."""
    from components.run_report.comparison import write_comparison

    folder = os.path.join(workspace.reports, run.run_id.replace(":", "-"))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "report.json"), "w", encoding="utf-8") as file:
        json.dump(run_summary(run), file, indent=2)
    model, examples = run.output("Trainer", "model"), run.output("SpanExampleGen", "examples")
    if model is not None and examples is not None:
        write_comparison(
            os.path.join(model.uri, "Format-Serving"),
            os.path.join(examples.uri, "Split-eval"),
            os.path.join(folder, "predictions.png"),
        )
    return folder
