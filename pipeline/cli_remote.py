"""The commands that run the pipeline elsewhere."""

import importlib

import click

from pipeline.cli_options import with_config

ENGINES = {"kubeflow": "pipeline.kubeflow_pipeline", "vertex": "pipeline.vertex_runner"}
"""Engine -> module that has its `compile_to`."""


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
