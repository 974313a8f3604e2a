"""Runs the pipeline on this machine: for `segpipe run`, and as the entry file of the `tfx` command.

    tfx pipeline create --engine local --pipeline-path pipeline/local_runner.py
    tfx run create --engine local --pipeline-name segpipe

The `tfx` command passes no arguments on, so there the environment decides: SEGPIPE_WORKSPACE (default `workspace`),
SEGPIPE_CONFIG (default: none) and SEGPIPE_SPAN (default: the newest).
"""

import os

from tfx import v1 as tfx
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

from pipeline.config import Config, load_config
from pipeline.dag import RUN_FN, create_pipeline
from pipeline.plan import plan
from pipeline.recording import recording
from pipeline.rollback import complete_rollback
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
    """Runs the pipeline to its end, as the only writer of the workspace, and makes its report, whatever is raised.

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
        complete_rollback(workspace)
        pipeline = build(config, workspace, span, run_fn)
        with recording(config, workspace, engine, log) as recorded:
            recorded(ENGINES[engine])().run(pipeline)


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
