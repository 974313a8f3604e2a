"""One run from the command line's view: progress on the terminal, the log in a file, the report's path at the end."""

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from components.errors import SegpipeError
from components.run_report import PAGE
from pipeline.config import Config
from pipeline.did import what_it_did
from pipeline.no_space import no_space
from pipeline.plan import plan
from pipeline.progress import RunProgress, output_to
from pipeline.records import list_runs, newest_run
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Execution:
    """A finished run.

    Attributes:
      run: its record.
      log: path of its log.
      report: the page of its report, None if that could not be made.
      known: id of an earlier run that trained on the same spans, or None if the data are new.
    """

    run: RunRecord
    log: str
    report: str | None
    known: str | None

    @property
    def news(self) -> str | None:
        """A sentence where the data are not new: that nothing was trained, or why it was trained again."""
        if self.known is None or "Trainer" not in self.run.nodes:
            return None
        number = "span" if len(self.run.spans) == 1 else "spans"
        spans = f"{number} {', '.join(map(str, self.run.spans))}"
        if self.run.nodes["Trainer"].state == "cached":
            return f"{spans} trained run {self.known} with this config and code, so nothing was trained"
        return f"no new data: {spans} trained run {self.known} before, and trained again because config or code changed"


def execute(
    config: Config, workspace: Workspace, engine: str, span: int | None, window: int | None, quiet: bool
) -> Execution:
    """Runs the pipeline and makes its report.

    Args:
      config: everything a user may choose.
      workspace: where to.
      engine: `local` or `beam`.
      span: which span; None takes the newest.
      window: how many spans train, that one included; None takes the config's.
      quiet: write no progress.

    Returns:
      The run, whether pushed, unchanged or refused.

    Raises:
      UsageError: before anything starts, if span, schema or config do not fit.
      SegpipeError: if a component failed; it names the component and the log.
    """
    plan(config, workspace, span, window)

    def start(log: str) -> None:
        from pipeline import local_runner

        local_runner.launch(config, workspace, engine, span, window, log=log)

    run, log = watch(workspace, "run", quiet, start)
    page = os.path.join(workspace.report(run.run_id), PAGE)
    return Execution(run, log, page if os.path.isfile(page) else None, _trained_before(workspace, run))


def _trained_before(workspace: Workspace, run: RunRecord) -> str | None:
    """Id of the newest earlier run that got past the Trainer on just these spans, whatever became of its model."""
    for other in reversed(list_runs(workspace.metadata)):
        if other.run_id != run.run_id and other.output("Trainer", "model") is not None and other.window == run.window:
            return other.run_id
    return None


def watch(
    workspace: Workspace,
    doing: str,
    quiet: bool,
    start: Callable[[str], None],
    kind: str = "",
) -> tuple[RunRecord, str]:
    """Runs a pipeline with its progress on the terminal and its output in a log, as the only writer of the workspace.

    Args:
      workspace: where it runs.
      doing: the command; the log is named after it.
      quiet: write no progress.
      start: runs the pipeline to its end, given the path of the log.
      kind: see `list_runs`.

    Returns:
      The record of the run, whether it came through or was refused, and the path of the log.

    Raises:
      SegpipeError: if the workspace is in use, its database is damaged, or a component failed; it names the component
        and the log.
    """
    with workspace.writer(doing):
        return _watch(workspace, doing, quiet, start, kind)


def _watch(workspace, doing, quiet, start, kind) -> tuple[RunRecord, str]:
    log = os.path.join(workspace.logs, time.strftime(f"{doing}-%Y%m%d-%H%M%S.log"))
    before = newest_run(workspace.metadata, kind)

    def did(node: str) -> str:
        return what_it_did(newest_run(workspace.metadata, kind), node)

    with output_to(log) as console, RunProgress(console, quiet, did) as progress:
        problem = _run(lambda: start(log), progress)
        run = newest_run(workspace.metadata, kind)
        if run is None or (before is not None and run.run_id == before.run_id):
            raise problem if isinstance(problem, SegpipeError) else failure(f"segpipe {doing}", problem, log)
        if problem is not None:
            progress.broke_off(run.verdict)
    if problem is not None and run.verdict != "refused":
        raise failure(progress.node or f"segpipe {doing}", problem, log) from problem
    return run, log


def _run(start: Callable[[], None], progress: RunProgress) -> Exception | None:
    """What a component raised, or None. TFX's runners let any exception through, so any must be caught to be told."""
    from absl import logging

    logging.set_verbosity(logging.INFO)
    progress.listen()
    try:
        start()
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        return error
    return None


def failure(what: str, problem: Exception | None, log: str) -> SegpipeError:
    """The sentence for what broke, naming the log; `problem` is None if nothing was raised and nothing recorded."""
    # A log lies in `logs/` of its workspace.
    full = no_space(problem, os.path.dirname(os.path.dirname(log))) if problem else None
    if full is not None:
        return SegpipeError(f"{what} failed: {full}, then run again, which goes on from there; the log is {log}")
    last = traceback.format_exception_only(problem)[-1].strip().splitlines() if problem else ["it left no record"]
    return SegpipeError(f"{what} failed ({last[0]}); the log is {log}; mend the cause and run again")
