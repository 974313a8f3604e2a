"""The commands that run the pipeline elsewhere."""

import importlib
import json
import sys

import click

from pipeline.cli_options import with_config, with_json, with_workspace

ENGINES = {"kubeflow": "pipeline.kubeflow_pipeline", "vertex": "pipeline.vertex_runner"}
"""Engine -> module that has its `compile_to`."""

JOBS = {"kubeflow": "pipeline.kubeflow_jobs", "vertex": "pipeline.vertex_jobs"}
"""Engine -> module that has its `submit`, `progress` and schedules."""

_STATUSES = {"pushed": 0, "failed": 1, "refused": 3}


@click.command("compile")
@click.option("--engine", type=click.Choice(list(ENGINES)), required=True, help="What is to run the pipeline.")
@click.option("--output", required=True, metavar="FILE", help="File to write.")
@with_config
def compile_pipeline(config, engine, output) -> None:
    """Write the pipeline as an engine elsewhere reads it.

    Fields of the config's section for that engine that are left out become named placeholders.

    Example: segpipe compile --engine vertex --output pipeline.json
    """
    click.echo(importlib.import_module(ENGINES[engine]).compile_to(config, output))


@click.command()
@click.option("--engine", type=click.Choice(list(JOBS)), required=True, help="What is to run the pipeline.")
@click.option("--span", type=click.IntRange(1), help="The span to run on; the newest if left out.")
@click.option("--window", type=click.IntRange(1), help="How many spans train, that one included; else data.window.")
@click.option("--wait", is_flag=True, help="Follow the run; exit as it ends: 0 pushed, 1 failed, 3 refused.")
@with_json
@with_config
@with_workspace
def submit(workspace, as_json, config, engine, span, window, wait) -> None:
    """Run the pipeline elsewhere.

    On Vertex AI the spans of the workspace are copied to the root first, each once; on Kubeflow they are on the shared
    volume already, and the workspace here is not read.

    Example: segpipe submit --engine vertex --config own.yaml --wait
    """
    from pipeline.remote_runs import follow

    jobs = importlib.import_module(JOBS[engine])
    submitted = jobs.submit(config, workspace, span, window)
    told = {"engine": engine, "name": submitted.name, "address": submitted.address}
    if not as_json:
        click.echo(f"submitted {submitted.name}\n{submitted.address}")
    if not wait:
        if as_json:
            click.echo(json.dumps(told, indent=2))
        return
    end = follow(lambda: jobs.progress(config, submitted.name), lambda line: click.echo(line, err=as_json))
    if as_json:
        click.echo(json.dumps(told | {"verdict": end.verdict, "message": end.message}, indent=2))
    elif end.verdict == "pushed":
        click.echo(f"pushed, {end.message}")
    status = _STATUSES[end.verdict]
    if status:
        click.echo(f"segpipe: {submitted.name} {end.verdict}: {end.message}", err=True)
        sys.exit(status)
