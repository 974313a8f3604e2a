"""What the shell offers for a RUN or a VERSION when tab is pressed. It must answer at once, so it imports little."""

import contextlib
import os
import sqlite3

import click

_NEWEST_FIRST = """
SELECT Context.name FROM Context JOIN Type ON Context.type_id = Type.id
WHERE Type.name = 'pipeline_run' ORDER BY Context.id DESC
"""


def _workspace(context: click.Context):
    from pipeline.workspace import Workspace

    return Workspace.at(context.params.get("workspace") or "workspace")


def complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`latest` and the ids of runs, newest first, that begin with what is typed."""
    path = _workspace(context).metadata
    ids = []
    if os.path.isfile(path):
        # A missing table or a busy database is no reason to disturb who is typing.
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as database,
        ):
            ids = [name for (name,) in database.execute(_NEWEST_FIRST)]
    return [name for name in ["latest", *ids] if name.startswith(incomplete)]


def complete_version(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Versions in the serving folder, newest first, that begin with what is typed."""
    from components.pusher.versions import list_versions

    versions = map(str, reversed(list_versions(_workspace(context).serving)))
    return [version for version in versions if version.startswith(incomplete)]
