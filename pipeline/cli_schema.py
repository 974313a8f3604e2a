"""The commands about the schema that data must fit."""

import sys

import click

from components.errors import UsageError
from pipeline.cli_options import with_config, with_recorded_workspace, with_workspace


@click.group()
def schema() -> None:
    """Show the schema that data must fit, or take a legitimate change of the data into it."""


@schema.command()
@with_config
@with_workspace
def show(workspace, config) -> None:
    """Print the schema of the next run, and on standard error where it comes from.

    Example: segpipe schema show > own.pbtxt
    """
    from google.protobuf import text_format

    from pipeline.schema_file import current_schema, schema_source

    source = schema_source(config, workspace.schema)
    kinds = {config.schema_file: "schema_file of the config", workspace.schema: "accepted in this workspace"}
    click.echo(f"{source} ({kinds.get(source, 'the curated one')})", err=True)
    click.echo(text_format.MessageToString(current_schema(config, workspace.schema)), nl=False)


@schema.command()
@click.argument("run", metavar="[RUN]", default="latest")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_config
@with_recorded_workspace
def accept(workspace, config, run, yes) -> None:
    """Take what AnomalyGate refused into the schema, as a legitimate change of the data.

    RUN is a run's id as `segpipe status` lists it; the newest if left out. Shows the change and asks. Nothing runs:
    segpipe run takes the schema as it is then. What segpipe itself relies on, such as photos that decode, cannot be
    accepted.

    Example: segpipe schema accept --config own.yaml
    """
    from pipeline.schema_accept import accept as accept_change
    from pipeline.schema_accept import review

    reviewed = review(config, workspace, run)
    for line in reviewed.diff:
        click.secho(line, fg={"+": "green", "-": "red"}.get(line[0]))
    for pair, sentences in reviewed.drifted:
        for sentence in sentences:
            click.echo(f"drift: {sentence}")
        click.echo(
            f"Accepted, span {pair.span.number} may differ from span {pair.previous.number}, and the next is compared "
            f"with it; the schema's thresholds stay."
        )
    if not yes and not sys.stdin.isatty():
        raise UsageError("standard input is no terminal to ask on; look at the change above and add --yes to accept it")
    if not yes and not click.confirm("Accept this?"):
        click.echo("nothing is changed")
        return
    accept_change(workspace, reviewed)
    if reviewed.diff:
        click.echo(f"wrote {reviewed.path}")
    click.echo(f"accepted what run {reviewed.run_id} was refused for; segpipe run goes on with it")
