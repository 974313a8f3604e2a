"""The command that retrains on a schedule: its own process here, or one that a service keeps."""

import os
import sys

import click

from components.errors import UsageError
from pipeline.cli_options import config_file, with_workspace
from pipeline.cli_remote import JOBS
from pipeline.cli_remote_schedule import REMOTE_OPTIONS, keep_there, remote_options

LOCAL = "local"
_LOCAL_OPTIONS = ("once", "images", "masks", "split_lists", "webhook")


@click.command()
@click.option("--engine", type=click.Choice([LOCAL, *JOBS]), default=LOCAL, show_default=True)
@click.option("--cron", metavar="EXPRESSION", help="Minute, hour, day, month, weekday; local time, UTC elsewhere.")
@click.option("--once", is_flag=True, help="One retraining now, without a schedule: for cron, systemd or Kubernetes.")
@click.option("--images", metavar="DIR", help="Folder to watch for photos; left out, others ingest.")
@click.option("--masks", metavar="DIR", help="Folder of masks with the photos' stems.")
@click.option("--split-lists", metavar="DIR", help="Folder of trainval.txt and test.txt; else names are hashed.")
@click.option(
    "--webhook", metavar="URL", help="Gets refusals and failures as JSON; ${NAME} is an environment variable."
)
@remote_options
@config_file
@with_workspace
def schedule(workspace, engine, config_path, **options) -> None:
    """Retrain at the ticks of a cron expression, where there are new photos.

    Runs in the foreground until SIGTERM or Ctrl-C. Each tick ingests what is new into a span of its own, and runs if
    there is one. A failure is tried again, a refusal is not.

    With --engine vertex or kubeflow that service keeps the schedule, with one run at a time.

    Example: segpipe schedule --cron "0 3 * * 1" --images photos --masks masks
    """
    from pipeline.config import load_config

    for name in REMOTE_OPTIONS if engine == LOCAL else _LOCAL_OPTIONS:
        if options.pop(name):
            raise UsageError(f"--{name.replace('_', '-')}: means nothing for --engine {engine}; drop it")
    config = load_config(config_path)
    if engine == LOCAL:
        _keep_here(workspace, config_path=config_path, **options)
    else:
        keep_there(workspace, engine, config, **options)


def _keep_here(workspace, cron, once, images, masks, split_lists, webhook, config_path) -> None:
    """Keeps the schedule in this process, or retrains once."""
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
