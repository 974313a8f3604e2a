"""Runs the pipeline on this machine: for `segpipe run`, and as the entry file of the `tfx` command.

    tfx pipeline create --engine local --pipeline-path pipeline/local_runner.py
    tfx run create --engine local --pipeline-name segpipe

The `tfx` command passes no arguments on, so there the environment decides: SEGPIPE_WORKSPACE (default `workspace`),
SEGPIPE_CONFIG (default: none), SEGPIPE_SPAN (default: the newest) and SEGPIPE_WINDOW (default: the config's).
"""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from absl import logging

from components.errors import SegpipeError
from pipeline.beam_arguments import check_files
from pipeline.config import Config, load_config
from pipeline.plan import RUN_FN, plan
from pipeline.stopping import ended_by_interrupt
from pipeline.workspace import Workspace

_UNUSED = "kubernetes_validate"


def run(
    config: Config,
    workspace: Workspace,
    engine: str,
    span: int | None = None,
    window: int | None = None,
    run_fn: str = RUN_FN,
    log: str | None = None,
) -> None:
    """Runs the pipeline to its end, as the only writer of the workspace, and makes its report, whatever is raised.

    Args:
      config: everything a user may choose.
      workspace: where to.
      engine: `local` or `beam`.
      span: which span; None takes the newest.
      window: how many spans train, that one included; None takes the config's.
      run_fn: dotted name of the training function.
      log: path of the log, for the report.

    Raises:
      SegpipeError: if the workspace is in use, or its database is damaged or gone.
      Exception: whatever a component raises.
    """
    with workspace.writer("run"):
        launch(config, workspace, engine, span, window, run_fn, log)


def launch(
    config: Config,
    workspace: Workspace,
    engine: str,
    span: int | None = None,
    window: int | None = None,
    run_fn: str = RUN_FN,
    log: str | None = None,
) -> None:
    """As `run`, for a caller who holds the workspace's lock."""
    check_files(config)
    # A second writer is refused before the seconds that TFX takes to import.
    with quick_imports():
        from tfx.orchestration.metadata import sqlite_metadata_connection_config

        from pipeline.dag import create_pipeline
        from pipeline.launching import launching
        from pipeline.recording import recording
        from pipeline.rollback import complete_rollback

        runner = _runner(engine)
    complete_rollback(workspace)
    places = plan(config, workspace, span, window)
    metadata = sqlite_metadata_connection_config(workspace.metadata)
    with launching(workspace), recording(config, workspace, engine, log) as recorded:
        recorded(runner)().run(create_pipeline(config, places, metadata, run_fn))


def _runner(engine: str) -> type:
    if engine == "beam":
        from apache_beam.options.pipeline_options import StandardOptions
        from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

        # It lets Beam choose; that of TFX 1.21 would fetch an engine from GitHub, see pipeline/beam_settings.py.
        StandardOptions.DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
        return BeamDagRunner
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    return LocalDagRunner


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """For imports: they make a million objects and no garbage, and looking for some takes a seventh of their time.

    The Kubernetes client, which TFX imports, takes kubernetes_validate where it is installed, as among the tests'
    packages: 1.3 s for what nothing here calls. So it is not found meanwhile.
    """
    gc.disable()
    sys.modules.setdefault(_UNUSED, None)
    try:
        yield
    finally:
        gc.enable()
        if sys.modules[_UNUSED] is None:
            del sys.modules[_UNUSED]


def main() -> None:
    """Runs what the environment names, with TFX's log on standard error."""
    logging.set_verbosity(logging.INFO)
    span, window = os.environ.get("SEGPIPE_SPAN"), os.environ.get("SEGPIPE_WINDOW")
    with ended_by_interrupt():
        try:
            run(
                load_config(os.environ.get("SEGPIPE_CONFIG")),
                Workspace.at(os.environ.get("SEGPIPE_WORKSPACE", "workspace")),
                "local",
                None if span is None else int(span),
                None if window is None else int(window),
            )
        except SegpipeError as error:
            print(f"segpipe: {error}", file=sys.stderr)
            sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
