"""What the commands share: the group that tells errors, the options for workspace and config, the console."""

import functools
import sys
import traceback

import click

from components.errors import SegpipeError, UsageError

_WRONG_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class Group(click.Group):
    """Prints a SegpipeError as one sentence and exits with its status."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except SegpipeError as error:
            if context.params["debug"]:
                traceback.print_exc()
            click.echo(f"segpipe: {error}", err=True)
            sys.exit(error.exit_status)
        except OSError as error:
            if context.params["debug"] or error.filename is None:
                raise
            click.echo(f"segpipe: {error.filename}: {error.strerror}; check the path", err=True)
            sys.exit(UsageError.exit_status if isinstance(error, _WRONG_PATHS) else SegpipeError.exit_status)


def with_workspace(command):
    """Gives a command `--workspace`, as a `Workspace`."""

    @click.option("--workspace", default="workspace", show_default=True, help="Folder that everything lives in.")
    @functools.wraps(command)
    def wrapper(workspace: str, **options):
        from pipeline.workspace import Workspace

        return command(workspace=Workspace.at(workspace), **options)

    return wrapper


def with_config(command):
    """Gives a command `--config`, as a `Config`."""

    @click.option("--config", "config_path", metavar="FILE", help="YAML file; what it leaves out keeps its default.")
    @functools.wraps(command)
    def wrapper(config_path: str | None, **options):
        from pipeline.config import load_config

        return command(config=load_config(config_path), **options)

    return wrapper


def stdout_console():
    """A console on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width; a table that is read by a program must not be folded to 80 columns.
    return console if console.is_terminal else Console(highlight=False, width=200)
