"""The commands of whoever keeps a model served."""

import json

import click

from pipeline.cli_options import (
    stdout_console,
    with_json,
    with_recorded_shared_workspace,
    with_recorded_workspace,
    with_workspace,
)
from pipeline.completion import complete_run, complete_version


@click.command()
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded with your login name.")
@with_recorded_workspace
@with_json
def bless(workspace, as_json, run, reason) -> None:
    """Push the model of a run although the gate refused it.

    RUN is a run's id as `segpipe status` lists it, or `latest`. The canary asks the model again first, and nobody can
    overrule the canary. The model is the baseline of the next run.

    Example: segpipe bless latest --reason "masks checked by eye"
    """
    from pipeline.bless import bless as bless_run

    blessed, new = bless_run(workspace, run, reason)
    what = "blessed" if new else "nothing new, was blessed before:"
    version = blessed.version
    if as_json:
        click.echo(json.dumps({"run_id": blessed.run_id, "version": version, "new": new}, indent=2))
        return
    click.echo(f"{what} run {blessed.run_id}, pushed as version {version} in {workspace.serving}/{version}")


@click.command()
@click.argument("version", metavar="[VERSION]", required=False, type=int, shell_complete=complete_version)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded with your login name.")
@with_recorded_shared_workspace
@with_json
def rollback(workspace, as_json, version, reason) -> None:
    """Serve an older model again, as a new version.

    VERSION is one in the serving folder; if left out, the one before the live version that is another model. The model
    that was live loses its blessing and is not pushed again by a repeated run; the next training is compared with the
    model that is live now.

    Example: segpipe rollback --reason "cats with collars come out as background"
    """
    from pipeline.rollback import rollback as roll_back

    done, new = roll_back(workspace, version, reason)
    if as_json:
        click.echo(json.dumps(done.model_dump() | {"new": new}, indent=2))
        return
    what = "rolled back" if new else "recorded the rollback of before, which was killed:"
    click.echo(
        f"{what} from version {done.left} to the model of version {done.returned_to}, live now as version "
        f"{done.version} in {workspace.serving}/{done.version}"
    )


@click.command()
@click.option(
    "--keep-runs", default=10, show_default=True, type=click.IntRange(1), help="How many of the newest runs keep all."
)
@click.option("--dry-run", is_flag=True, help="Say what would go and remove nothing.")
@with_workspace
@with_json
def gc(workspace, as_json, keep_runs, dry_run) -> None:
    """Remove what old runs left behind.

    Never what is served or a rollback would serve, the model that the next run is compared with, what these were made
    from, or what an unchanged next run takes from the cache.

    Example: segpipe gc --keep-runs 5 --dry-run
    """
    from pipeline.gc import collect
    from pipeline.tables import size_text, sizes_table

    sizes = collect(workspace, keep_runs, dry_run)
    if as_json:
        found = {kind: {"count": count, "bytes": size} for kind, (count, size) in sizes.items()}
        click.echo(json.dumps({"dry_run": dry_run, "removed": found}, indent=2))
        return
    count, size = (sum(column) for column in zip(*sizes.values(), strict=True)) if sizes else (0, 0)
    if sizes:
        stdout_console().print(sizes_table(sizes))
    click.echo(f"{'would remove' if dry_run else 'removed'} {count} folders and files, {size_text(size)}")
