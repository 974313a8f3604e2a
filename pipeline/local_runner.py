"""Runs the pipeline on this machine: for `segpipe run`, and as the entry file of the `tfx` command.

    tfx pipeline create --engine local --pipeline-path pipeline/local_runner.py
    tfx run create --engine local --pipeline-name segpipe

The `tfx` command passes no arguments on, so there the environment decides: SEGPIPE_WORKSPACE (default `workspace`),
SEGPIPE_CONFIG (default: none) and SEGPIPE_SPAN (default: the newest).
"""

import datetime
import os
import traceback

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter

from pipeline.config import Config, load_config
from pipeline.dag import RUN_FN, create_pipeline
from pipeline.plan import plan
from pipeline.report import write_report
from pipeline.run_setup import RunSetup, describe_run, write_setup
from pipeline.workspace import Workspace

ENGINES = {"local": tfx.orchestration.LocalDagRunner, "beam": BeamDagRunner}


def build(config: Config, workspace: Workspace, span: int | None, run_fn: str = RUN_FN) -> tfx.dsl.Pipeline:
    """The pipeline of a workspace on a span, with its metadata in SQLite."""
    places = plan(config, workspace, span)
    metadata = tfx.orchestration.metadata.sqlite_metadata_connection_config(workspace.metadata)
    return create_pipeline(config, places, metadata, run_fn)


def run(
    config: Config,
    workspace: Workspace,
    engine: str,
    span: int | None = None,
    run_fn: str = RUN_FN,
    log: str | None = None,
) -> None:
    """Runs the pipeline to its end, as the only writer of the workspace, and makes the report, whatever is raised.

    Args:
      config: everything a user may choose.
      workspace: where to.
      engine: `local` or `beam`.
      span: which span; None takes the newest.
      run_fn: dotted name of the training function.
      log: path of the log, for the report.

    Raises:
      SegpipeError: if the workspace is in use.
      Exception: whatever a component raises.
    """
    with workspace.writer("run"):
        pipeline = build(config, workspace, span, run_fn)
        run_id = datetime.datetime.now().isoformat()
        setup = describe_run(config.model_dump(mode="json"), engine, log)
        try:
            _runner(engine, workspace, run_id, setup).run(pipeline)
        except Exception as error:
            what = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
            write_setup(workspace, run_id, setup.model_copy(update={"error": what}))
            _report(workspace, run_id)
            raise
        _report(workspace, run_id)


def _runner(engine: str, workspace: Workspace, run_id: str, setup: RunSetup) -> tfx.orchestration.LocalDagRunner:
    """A runner that keeps the setup before its first component and gives the run its id, which TFX's own make up."""

    class Runner(ENGINES[engine]):
        # `tfx pipeline create` replaces `run`, to look at the pipeline alone; then nothing runs and nothing is kept.
        def run_with_ir(self, pipeline, *args, **kwargs):
            write_setup(workspace, run_id, setup)
            substitute_runtime_parameter(pipeline, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
            super().run_with_ir(pipeline, *args, **kwargs)

    return Runner()


def _report(workspace: Workspace, run_id: str) -> None:
    if not os.path.isdir(workspace.report(run_id)):
        return
    try:
        write_report(workspace, run_id)
    except Exception:  # noqa: BLE001, a report that cannot be made must not change what became of the run
        logging.exception("the report of run %s could not be made; segpipe report makes it again", run_id)


def main() -> None:
    """Runs what the environment names."""
    span = os.environ.get("SEGPIPE_SPAN")
    run(
        load_config(os.environ.get("SEGPIPE_CONFIG")),
        Workspace.at(os.environ.get("SEGPIPE_WORKSPACE", "workspace")),
        "local",
        None if span is None else int(span),
    )


if __name__ == "__main__":
    main()
