"""What the containers of Kubeflow Pipelines run: the first plans, each further one launches a node, the last judges; an
exit handler makes the report whatever happened.

    python -m pipeline.kubeflow_step plan --root DIR --metadata ADDRESS --source HASH --run ID --config JSON --ir FILE
    python -m pipeline.kubeflow_step node --root DIR --metadata ADDRESS --source HASH --run ID --ir HASH --node NAME
    python -m pipeline.kubeflow_step verdict --root DIR --metadata ADDRESS --source HASH --run ID
    python -m pipeline.kubeflow_step report --root DIR --metadata ADDRESS --source HASH --run ID

Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused by a gate. `pipeline.kubeflow_pipeline` writes these commands.
"""

import contextlib
import functools
import os
import sys
import time

import click

from components.errors import RefusedError, SegpipeError, UsageError
from pipeline.bucket_root import open_workspace
from pipeline.fingerprint import joint_fingerprint
from pipeline.plan import RUN_FN
from pipeline.remote_metadata import connect, connection

_PUSHER = "AtomicPusher"

# For a run beside this one to plan or push, or a person to ingest or roll back.
_PATIENCE = 600

# What TFX finds by its name, so that no import leads to it.
_BY_NAME = (RUN_FN.rpartition(".")[0], "trainer.preprocessing")


def source_fingerprint() -> str:
    """Hash of all source that a step can reach."""
    # Digits with one e among them would be a number where the backend reads the compiled YAML.
    return "source-" + joint_fingerprint("pipeline.kubeflow_step", *_BY_NAME)


def _step(command):
    """Gives a step what all have, refuses another source than the compiled one's, and ends it as segpipe ends."""

    @click.option("--root", required=True)
    @click.option("--metadata", required=True)
    @click.option("--source", required=True)
    @click.option("--run", required=True, help="Id of the run, the same in all its steps.")
    @functools.wraps(command)
    def wrapper(root: str, metadata: str, source: str, **options):
        try:
            if source != source_fingerprint():
                raise UsageError(
                    f"this image holds {source_fingerprint()}, the pipeline was compiled from {source}; "
                    f"build the image and compile the pipeline from one commit"
                )
            with open_workspace(root, metadata) as workspace:
                command(workspace=workspace, **options)
        except SegpipeError as error:
            print(f"segpipe: {error}", file=sys.stderr, flush=True)
            sys.exit(error.exit_status)

    return wrapper


@click.group()
def main() -> None:
    """Runs one step."""
    from absl import logging

    logging.set_verbosity(logging.INFO)


@main.command()
@_step
@click.option("--config", required=True, help="The config, as JSON.")
@click.option("--schema", default="", help="Text of the user's own schema.")
@click.option("--span", type=int, default=0, help="The span to run on; 0 takes the newest.")
@click.option("--window", type=int, default=0, help="How many spans train; 0 takes the config's.")
@click.option("--ir", required=True, help="File to write the hash of the pipeline to.")
def plan(workspace, run, config, schema, span, window, ir) -> None:
    """Choose the spans, write the pipeline of this run to the root, and prepare the database."""
    from tfx.dsl.compiler.compiler import Compiler

    from components.content_path import write_by_content
    from pipeline.config import Config
    from pipeline.dag import create_pipeline
    from pipeline.launching import remove_what_is_damaged
    from pipeline.learnt import learnt_spans
    from pipeline.node_launch import register_types
    from pipeline.plan import plan as plan_run
    from pipeline.rollback import complete_rollback
    from pipeline.run_setup import describe_run, write_setup
    from pipeline.stored_ir import store_ir

    config = Config.model_validate_json(config)
    if schema:
        config = config.model_copy(
            update={"schema_file": write_by_content(workspace.schemas, "given.pbtxt", schema)},
        )
    write_setup(workspace, run, describe_run(config.model_dump(mode="json"), "kubeflow", log=None))
    # One plan at a time: neither making the tables nor naming the types is safe for two at once.
    with workspace.writer("plan", wait=_PATIENCE):
        store = connect(workspace.server)
        complete_rollback(workspace)
        remove_what_is_damaged(store, workspace)
        places = plan_run(config, workspace, span or None, window or None, learnt_spans(store))
        pipeline = Compiler().compile(create_pipeline(config, places))
        register_types(pipeline, connection(workspace.server))
    sha256 = store_ir(workspace.root, pipeline)
    os.makedirs(os.path.dirname(os.path.abspath(ir)), exist_ok=True)
    with open(ir, "w", encoding="utf-8") as file:
        file.write(sha256)
    print(f"the pipeline of this run is {sha256}")


@main.command()
@_step
@click.option("--ir", required=True, help="Hash of the pipeline.")
@click.option("--node", required=True, help="Which node.")
def node(workspace, run, ir, node) -> None:
    """Launch a node."""
    from pipeline.bucket_launch import launcher_for
    from pipeline.node_launch import launch_node
    from pipeline.stored_ir import ir_path, load_ir

    workspace.fetch([workspace.ir], lambda path: path.endswith(os.path.basename(ir_path(workspace.root, ir))))
    pipeline = load_ir(workspace.root, ir)
    # Two runs may push at once, and a person may roll back.
    alone = workspace.writer("push", wait=_PATIENCE) if node == _PUSHER else contextlib.nullcontext()
    with alone:
        launched = launch_node(pipeline, node, run, connection(workspace.server), launcher_for(workspace))
    if not launched:
        print(f"{node} had finished in an earlier try")


@main.command()
@_step
def verdict(workspace, run) -> None:
    """Say what became of the run; a refused one fails here, after all its nodes."""
    from pipeline.records import read_run

    finished = read_run(connect(workspace.server), run, workspace.pipeline_root)
    if finished.verdict == "refused":
        raise RefusedError("refused, nothing is pushed: " + "; ".join(finished.reasons))
    print(f"{finished.verdict}, live is version {finished.version}")


@main.command()
@_step
def report(workspace, run) -> None:
    """Make the report of a run that has ended, whatever became of it."""
    from absl import logging

    from pipeline.report import write_report
    from pipeline.run_setup import read_setup, write_setup

    setup = read_setup(workspace, run)
    if setup is not None:
        write_setup(workspace, run, setup.model_copy(update={"ended": round(time.time(), 3)}))
    if connect(workspace.server).get_context_by_type_and_name("pipeline_run", run) is None:
        print("the run ended before its first node, so there is nothing to report; the log of Plan says why")
        return
    try:
        print(f"report {write_report(workspace, run)}")
    except Exception:  # noqa: BLE001, a report that cannot be made must not change what became of the run
        logging.exception("the report of run %s could not be made; segpipe report makes it again", run)


if __name__ == "__main__":
    main()
