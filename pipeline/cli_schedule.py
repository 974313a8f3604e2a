"""The command that retrains on a schedule."""

import os
import sys

import click

from components.errors import UsageError
from pipeline.cli_options import config_file, with_workspace


@click.command()
@click.option("--engine", type=click.Choice(["local"]), default="local", show_default=True)
@click.option("--cron", metavar="EXPRESSION", help="Minute, hour, day, month, weekday, in local time.")
@click.option("--once", is_flag=True, help="One retraining now, without a schedule: for cron, systemd or Kubernetes.")
@click.option("--images", metavar="DIR", help="Folder to watch for photos; left out, others ingest.")
@click.option("--masks", metavar="DIR", help="Folder of masks with the photos' stems.")
@click.option("--split-lists", metavar="DIR", help="Folder of trainval.txt and test.txt; else names are hashed.")
@click.option(
    "--webhook", metavar="URL", help="Gets refusals and failures as JSON; ${NAME} is an environment variable."
)
@config_file
@with_workspace
def schedule(workspace, engine, cron, once, images, masks, split_lists, webhook, config_path) -> None:
    """Retrain at the ticks of a cron expression, where there are new photos.

    Runs in the foreground until SIGTERM or Ctrl-C. Each tick ingests what is new into a span of its own, and runs if
    there is one. A failure is tried again, a refusal is not.

    Example: segpipe schedule --cron "0 3 * * 1" --images photos --masks masks
    """
    from pipeline.config import load_config
    from pipeline.retraining import Retraining, until_stopped
    from pipeline.schedule import Schedule, only_schedule
    from pipeline.webhook import check_webhook

    if once == (cron is not None):
        raise UsageError("give either --cron 'EXPRESSION', such as '0 3 * * 1' for Mondays at three, or --once")
    if cron is not None:
        from pipeline.cron import check_cron

        check_cron(cron)
    if webhook is not None:
        check_webhook(webhook)
    load_config(config_path)
    folders = _watched(images, masks, split_lists)
    with only_schedule(workspace), until_stopped() as segpipe:
        retrain = Retraining(workspace, folders, config_path, segpipe)
        planned = Schedule(workspace, cron, retrain, click.echo, webhook)
        if not once:
            planned.keep()
        attempt = planned.attempt()
    if attempt.exit_status:
        click.echo(f"segpipe: {attempt.message}", err=True)
        sys.exit(attempt.exit_status if attempt.exit_status > 0 else 1)


def _watched(images: str | None, masks: str | None, split_lists: str | None):
    """The folders to watch, or None if none is given."""
    from pipeline.retraining import Folders

    given = {"--images": images, "--masks": masks, "--split-lists": split_lists}
    if not any(given.values()):
        return None
    for option, folder in given.items():
        if folder is None and option != "--split-lists":
            raise click.MissingParameter(param_type="option", param_hint=option)
        if folder is not None and not os.path.isdir(folder):
            raise UsageError(f"{option} {folder}: no such folder; name the folder that holds the files")
    return Folders(images, masks, split_lists)
