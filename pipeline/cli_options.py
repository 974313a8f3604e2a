"""What the commands share: the group that tells errors, the options for workspace, config and JSON, the console."""

import contextlib
import functools
import json
import os
import sys
import traceback
from collections.abc import Iterator

import click

from components.errors import SegpipeError, UsageError
from pipeline.buckets import is_address
from pipeline.completion import complete_version

_WRONG_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class Group(click.Group):
    """Prints a SegpipeError as one sentence and exits with its status."""

    def invoke(self, context: click.Context):
        from pipeline.stopping import ended_by_interrupt

        with ended_by_interrupt():
            try:
                return super().invoke(context)
            except click.exceptions.Exit:
                raise
            except Exception as error:  # noqa: BLE001, a full disk shows as whatever the library at work makes of it
                told = _sentence(error, context.obj)
                if told is None:
                    raise
                if context.params["debug"]:
                    traceback.print_exc()
                sentence, status = told
                click.echo(f"segpipe: {sentence}", err=True)
                sys.exit(status)


def _sentence(error: Exception, folder: str | None) -> tuple[str, int] | None:
    """What to tell of an error, and the exit status; None for one that only its traceback explains.

    Args:
      error: what was raised.
      folder: the workspace, if the command has one: where space is missing if the error does not say.
    """
    from pipeline.no_space import no_space

    if isinstance(error, SegpipeError):
        return str(error), error.exit_status
    full = no_space(error, folder)
    if full is not None:
        return f"{full}, then run the same command again", SegpipeError.exit_status
    if isinstance(error, OSError) and error.filename is not None:
        status = UsageError.exit_status if isinstance(error, _WRONG_PATHS) else SegpipeError.exit_status
        return f"{error.filename}: {error.strerror}; check the path", status
    return None


def _giving_workspace(in_bucket: bool, recorded: bool):
    """A decorator that gives a command `--workspace`, as a `Workspace`.

    Args:
      in_bucket: whether it may be the address of a folder in a bucket, too.
      recorded: whether the command has `--metadata` as well, which the `Workspace` then knows.
    """

    def decorate(command):
        @click.option("--workspace", default="workspace", show_default=True, help="Folder that everything lives in.")
        @functools.wraps(command)
        def wrapper(workspace: str, metadata: str | None = None, **options):
            from pipeline.bucket_root import open_workspace

            if is_address(workspace) and not in_bucket:
                raise UsageError(
                    f"--workspace {workspace}: this command needs a folder; ingest, status, report, diff and rollback "
                    f"take a bucket too, and segpipe submit runs the pipeline on one"
                )
            if is_address(workspace) and recorded and metadata is None:
                raise UsageError(f"--workspace {workspace}: its runs are on a server; name that with --metadata")
            with open_workspace(workspace, metadata, serving=True) as chosen:
                # The group that tells errors has no other way to know where this command wrote.
                click.get_current_context().find_root().obj = chosen.root
                return command(workspace=chosen, **options)

        return _metadata(wrapper) if recorded else wrapper

    return decorate


_metadata = click.option(
    "--metadata",
    metavar="ADDRESS",
    envvar="SEGPIPE_METADATA",
    show_envvar=True,
    help="Server with the runs of a workspace that Kubeflow's steps share, as mysql://USER@HOST:PORT/DATABASE or "
    "grpc://HOST:PORT; without it the runs are in the workspace.",
)

with_workspace = _giving_workspace(in_bucket=False, recorded=False)
with_shared_workspace = _giving_workspace(in_bucket=True, recorded=False)
with_recorded_workspace = _giving_workspace(in_bucket=False, recorded=True)
with_recorded_shared_workspace = _giving_workspace(in_bucket=True, recorded=True)


def config_file(command):
    """Gives a command `--config`, as the path `config_path`."""
    wanted = "YAML file; what it leaves out keeps its default."
    return click.option("--config", "config_path", metavar="FILE", help=wanted)(command)


def with_config(command):
    """Gives a command `--config`, as a `Config`."""

    @config_file
    @functools.wraps(command)
    def wrapper(config_path: str | None, **options):
        from pipeline.config import load_config

        return command(config=load_config(config_path), **options)

    return wrapper


def with_json(command):
    """Gives a command `--json`, as `as_json`; an error is then JSON on standard output too."""

    @click.option("--json", "as_json", is_flag=True, help="The result for machines; on standard output nothing else.")
    @functools.wraps(command)
    def wrapper(as_json: bool, **options):
        try:
            return command(as_json=as_json, **options)
        except SegpipeError as error:
            if as_json:
                click.echo(json.dumps({"error": str(error), "exit_status": error.exit_status}, indent=2))
            raise

    return wrapper


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps off the terminal what TensorFlow and its like write to standard error from C++ while they start."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def with_version(command):
    """Gives a command `--version`, a model's."""
    wanted = "Version of the model; the live one if left out."
    return click.option("--version", type=int, help=wanted, shell_complete=complete_version)(command)


def stdout_console():
    """A console on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width; a table that is read by a program must not be folded to 80 columns.
    return console if console.is_terminal else Console(highlight=False, width=200)
