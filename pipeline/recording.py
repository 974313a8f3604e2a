"""What every run leaves beside its artifacts: from its start on its setup, and at its end its report."""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator

from absl import logging
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter
from tfx.orchestration.portable.tfx_runner import IrBasedRunner

from components.errors import in_one_line
from pipeline.config import Config
from pipeline.report import write_report
from pipeline.resolvers import failed_resolvers_raise
from pipeline.run_setup import describe_run, write_setup
from pipeline.workspace import Workspace

RunnerClass = type[IrBasedRunner]


@contextlib.contextmanager
def recording(
    config: Config, workspace: Workspace, engine: str, log: str | None
) -> Iterator[Callable[[RunnerClass], RunnerClass]]:
    """Keeps the setup of the run that goes on inside, and makes its report, whatever is raised.

    Args:
      config: everything a user may choose.
      workspace: where the run is.
      engine: its name.
      log: path of the log, or None.

    Yields:
      A function that makes of a class of runner one whose runs are recorded.
    """
    run_id = datetime.datetime.now().isoformat()
    setup = describe_run(config.model_dump(mode="json"), engine, log)

    def recorded(runner: RunnerClass) -> RunnerClass:
        class Recorded(runner):
            # `tfx pipeline create` replaces `run`, to look at the pipeline; then nothing runs and nothing is kept.
            def run_with_ir(self, pipeline, *args, **kwargs):
                write_setup(workspace, run_id, setup)
                # TFX's runners make up an id that nobody knows before the first component; a second one finds no place.
                substitute_runtime_parameter(pipeline, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
                with failed_resolvers_raise():
                    return super().run_with_ir(pipeline, *args, **kwargs)

        return Recorded

    try:
        yield recorded
    except Exception as error:
        if os.path.isdir(workspace.report(run_id)):
            write_setup(workspace, run_id, setup.model_copy(update={"error": in_one_line(error)}))
        _report(workspace, run_id)
        raise
    _report(workspace, run_id)


def _report(workspace: Workspace, run_id: str) -> None:
    if not os.path.isdir(workspace.report(run_id)):
        return
    try:
        write_report(workspace, run_id, same_pictures=True)
    except Exception:  # noqa: BLE001, a report that cannot be made must not change what became of the run
        logging.exception("the report of run %s could not be made; segpipe report makes it again", run_id)
