"""The commands that tell about runs: none takes the workspace's lock, so they work while a run goes on."""

import json

import click

from pipeline.cli_options import stdout_console, with_json, with_recorded_shared_workspace
from pipeline.completion import complete_run


@click.command()
@click.option("--last", default=20, show_default=True, type=click.IntRange(1), help="How many of the newest runs.")
@with_json
@with_recorded_shared_workspace
def status(workspace, as_json, last) -> None:
    """List the runs, what became of them and which version is live.

    Example: segpipe status --json
    """
    from components.pusher.versions import live_version
    from pipeline.records import runs_of
    from pipeline.run_record import run_summary
    from pipeline.schedule_state import read_state, state_lines
    from pipeline.tables import runs_table
    from pipeline.workspace import is_alive

    runs = runs_of(workspace, newest=last)
    live = live_version(workspace.serving)
    scheduled = read_state(workspace)
    if as_json:
        planned = None if scheduled is None else scheduled.model_dump() | {"alive": is_alive(scheduled.process)}
        listed = [run_summary(run) for run in runs]
        click.echo(json.dumps({"live_version": live, "schedule": planned, "runs": listed}, indent=2))
        return
    for line in [] if scheduled is None else state_lines(scheduled):
        click.echo(line)
    if not runs:
        click.echo(f"no run in {workspace.root} yet")
    else:
        console = stdout_console()
        console.print(runs_table(runs, live))
        console.print("nothing is live yet" if live is None else f"live is version {live}")


@click.command()
@click.argument("run", metavar="[RUN]", default="latest", shell_complete=complete_run)
@click.option("--open", "in_browser", is_flag=True, help="Show it in the browser.")
@with_json
@with_recorded_shared_workspace
def report(workspace, as_json, run, in_browser) -> None:
    """Make the report of a run again, from what is recorded, and print its path.

    RUN is a run's id as `segpipe status` lists it; without one it is the newest.

    Example: segpipe report latest --open
    """
    from pipeline.cli_options import quiet_libraries
    from pipeline.report import write_report

    with quiet_libraries():
        page = write_report(workspace, run)
    click.echo(json.dumps({"report": page}) if as_json else page)
    if in_browser and click.launch(page) != 0:
        click.echo(f"segpipe: no browser could be started; open {page} in one", err=True)


@click.command()
@click.argument("first", metavar="RUN", shell_complete=complete_run)
@click.argument("second", metavar="RUN", shell_complete=complete_run)
@with_json
@with_recorded_shared_workspace
def diff(workspace, as_json, first, second) -> None:
    """Show two runs side by side: what differs in config and source, their data and scores.

    RUN is a run's id as `segpipe status` lists it, or `latest`.

    Example: segpipe diff 2026-11-01T09:00:00.000000 latest
    """
    from pipeline.diff import compare_runs
    from pipeline.records import runs_of
    from pipeline.report import collect_facts, find_run
    from pipeline.tables import diff_tables

    runs = runs_of(workspace)
    chosen = [find_run(workspace, name, runs) for name in (first, second)]
    found = compare_runs(*(collect_facts(workspace, run, runs) for run in chosen))
    if as_json:
        click.echo(json.dumps({"runs": [run.run_id for run in chosen]} | found, indent=2))
    else:
        for table in diff_tables([run.run_id for run in chosen], found):
            stdout_console().print(table)
