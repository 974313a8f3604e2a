"""The options of `segpipe schedule` for a schedule that a service keeps, and what they do."""

import importlib

import click

from components.errors import UsageError
from pipeline.cli_remote import JOBS

_CHANGES = {"pause": "paused", "resume": "resumed", "delete": "deleted"}

REMOTE_OPTIONS = ("window", "upload", "list", *_CHANGES)


def remote_options(command):
    """Gives a command `REMOTE_OPTIONS`."""
    for option in reversed(
        (
            click.option("--window", type=click.IntRange(1), help="Elsewhere: how many spans train; else data.window."),
            click.option("--upload", is_flag=True, help="On vertex: copy the newest spans for the next runs."),
            click.option("--list", is_flag=True, help="Elsewhere: show the pipeline's schedules."),
            click.option("--pause", is_flag=True, help="Elsewhere: start nothing until --resume."),
            click.option("--resume", is_flag=True, help="Elsewhere: start runs again."),
            click.option("--delete", is_flag=True, help="Elsewhere: remove the schedule; what runs goes on."),
        )
    ):
        command = option(command)
    return command


def keep_there(workspace, engine: str, config, cron: str | None, window: int | None, **asked: bool) -> None:
    """Does what the options ask of a service.

    Args:
      workspace: a `Workspace`.
      engine: one of `JOBS`.
      config: a `Config`.
      cron: expression of a new schedule.
      window: how many spans train.
      asked: the other `REMOTE_OPTIONS`.

    Raises:
      SegpipeError: if they do not ask for one thing, or the service does not do it.
    """
    chosen = [name for name, given in asked.items() if given] + ["cron"] * (cron is not None)
    if len(chosen) != 1:
        raise UsageError(
            "give one of --cron 'EXPRESSION', such as '0 3 * * 1' for Mondays at three, --list, --upload, --pause, "
            "--resume and --delete"
        )
    (action,) = chosen
    if window is not None and action not in ("cron", "upload"):
        raise UsageError(f"--window: means nothing with --{action}; drop it")
    jobs = importlib.import_module(JOBS[engine])
    if action == "upload":
        if not hasattr(jobs, "upload"):
            raise UsageError(f"--upload: {engine} reads the spans where they are; drop it")
        jobs.upload(config, workspace, window)
        click.echo(f"runs that start from now on read the newest spans in {config.vertex.root}")
    elif action == "cron":
        _print(jobs.create_schedule(config, workspace, cron, window), "scheduled")
    elif action == "list":
        found = jobs.list_schedules(config)
        for kept in found:
            _print(kept, kept.state)
        if not found:
            click.echo(f"no schedule of {config.pipeline_name}")
    else:
        for kept in getattr(jobs, action)(config):
            _print(kept, _CHANGES[action])


def _print(kept, what: str) -> None:
    """Two lines on a `RemoteSchedule`."""
    runs = kept.next_run is not None and what in ("active", "scheduled")
    following = f", next {kept.next_run:%Y-%m-%d %H:%M} UTC" if runs else ""
    click.echo(f"{what}: {kept.name}, '{kept.cron}' in UTC{following}, {kept.id}\n{kept.address}")
