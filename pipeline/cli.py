"""The `segpipe` command: parses, calls, prints. A command imports what it needs when it runs, so help is instant."""

import functools
import json
import os
import sys
import traceback
import warnings

import click

from components.errors import RefusedError, SegpipeError, UsageError

_WRONG_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class _Group(click.Group):
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


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="segpipe")
def main(debug: bool) -> None:
    """Trains, gates and publishes image segmentation models.

    \b
    segpipe draw --output drawn
    segpipe ingest --images drawn/images --masks drawn/annotations/trimaps --split-lists drawn/annotations
    segpipe run
    segpipe predict photo.jpg --output predictions

    Exit status: 0 pushed or nothing new, 1 failed, 2 wrong usage, 3 refused by a gate.
    """
    if not debug:
        # TensorFlow and Google's libraries write start-up chatter that no user of this command can act on.
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        warnings.simplefilter("ignore")


def _with_workspace(command):
    @click.option("--workspace", default="workspace", show_default=True, help="Folder that everything lives in.")
    @functools.wraps(command)
    def wrapper(workspace: str, **options):
        from pipeline.workspace import Workspace

        return command(workspace=Workspace.at(workspace), **options)

    return wrapper


def _with_config(command):
    @click.option("--config", "config_path", metavar="FILE", help="YAML file; what it leaves out keeps its default.")
    @functools.wraps(command)
    def wrapper(config_path: str | None, **options):
        from pipeline.config import load_config

        return command(config=load_config(config_path), **options)

    return wrapper


def _console():
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width; a table that is read by a program must not be folded to 80 columns.
    return console if console.is_terminal else Console(highlight=False, width=200)


@main.command()
@click.option("--output", required=True, metavar="DIR", help="Folder to write images/ and annotations/ to.")
@click.option("--photos", default=240, show_default=True, type=click.IntRange(8, 100_000), help="How many.")
@click.option(
    "--seed", default=17, show_default=True, type=click.IntRange(0), help="The same seed draws the same bytes."
)
def draw(output: str, photos: int, seed: int) -> None:
    """Draw a small dataset in the Oxford-IIIT Pets layout, to try things without real photos.

    Example: segpipe draw --output drawn --photos 240
    """
    from components.ingest.draw import draw_dataset

    draw_dataset(output, photos, seed)
    click.echo(f"drew {photos} photos and trimaps in {output}")


@main.command()
@click.option("--images", required=True, metavar="DIR", help="Folder of photos.")
@click.option("--masks", required=True, metavar="DIR", help="Folder of masks with the photos' stems.")
@click.option("--split-lists", metavar="DIR", help="Folder of trainval.txt and test.txt; else names are hashed.")
@click.option("--span", type=click.IntRange(1), help="Number of the span to make; the next free one if left out.")
@click.option("--max-quarantine", type=click.FloatRange(0, 1), metavar="SHARE", help="Overrides data.max_quarantine.")
@_with_config
@_with_workspace
def ingest(workspace, config, images, masks, split_lists, span, max_quarantine) -> None:
    """Read photos and masks into a span of TFRecords.

    Example: segpipe ingest --images photos --masks masks --config own.yaml
    """
    from pipeline.ingest_command import ingest_with_progress

    if max_quarantine is not None:
        data = config.data.model_copy(update={"max_quarantine": max_quarantine})
        config = config.model_copy(update={"data": data})
    outcome = ingest_with_progress(config, workspace, images, masks, split_lists, span)
    manifest = outcome.manifest
    done = "wrote" if outcome.written else "nothing new, the same input is in"
    click.echo(f"{done} {outcome.folder}")
    splits = " + ".join(f"{manifest.examples(split)} {split}" for split in ("train", "eval"))
    quarantined = sum(manifest.quarantined.values())
    click.echo(
        f"{manifest.photos_found} photos found = {manifest.ingested} ingested ({splits}) + {quarantined} quarantined"
    )
    for reason, count in manifest.quarantined.items():
        click.echo(f"  {count} {reason}")


@main.command()
@click.option("--engine", type=click.Choice(["local", "beam"]), default="local", show_default=True)
@click.option("--span", type=click.IntRange(1), help="The span to run on; the newest if left out.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@_with_config
@_with_workspace
def run(workspace, config, engine, span, quiet) -> None:
    """Validate, transform, train, gate and push.

    Example: segpipe run --config own.yaml
    """
    from pipeline.execute import execute
    from pipeline.tables import blessing_text, scores_table

    execution = execute(config, workspace, engine, span, quiet)
    finished, console = execution.run, _console()
    if finished.summary:
        console.print(scores_table(finished.summary["metrics"], finished.summary["baseline"]))
        if finished.summary["lost_baseline"]:
            console.print(f"warning: {finished.summary['lost_baseline']}", soft_wrap=True, markup=False)
    picture = os.path.join(execution.report, "predictions.png")
    console.print(f"report {execution.report}\npicture {picture}\nlog {execution.log}", soft_wrap=True)
    if finished.verdict == "refused":
        raise RefusedError("refused, nothing is pushed: " + "; ".join(finished.reasons))
    what = "pushed version" if finished.verdict == "pushed" else "nothing new; live is version"
    console.print(f"{what} {finished.version} in {workspace.serving}/{finished.version}", soft_wrap=True)
    if finished.blessing is not None:
        console.print(blessing_text(finished.blessing), soft_wrap=True, markup=False)


@main.command()
@click.argument("run", metavar="RUN")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded with your login name.")
@_with_workspace
def bless(workspace, run, reason) -> None:
    """Push the model of a run although the gate refused it.

    RUN is a run's id as `segpipe status` lists it, or `latest`. The canary asks the model again first, and nobody can
    overrule the canary. The model is the baseline of the next run.

    Example: segpipe bless latest --reason "masks checked by eye"
    """
    from pipeline.bless import bless as bless_run

    blessed, new = bless_run(workspace, run, reason)
    what = "blessed" if new else "nothing new, was blessed before:"
    version = blessed.version
    click.echo(f"{what} run {blessed.run_id}, pushed as version {version} in {workspace.serving}/{version}")


def _model(workspace, version: int | None):
    """The served model of a workspace: the live one, or a given version."""
    from components.inference.served_model import ServedModel
    from components.pusher.versions import list_versions, live_version

    chosen = live_version(workspace.serving) if version is None else version
    if chosen is None:
        raise UsageError(f"{workspace.serving} holds no model; run segpipe run --workspace {workspace.root} first")
    if chosen not in list_versions(workspace.serving):
        raise UsageError(
            f"--version {chosen}: not in {workspace.serving}, which has {list_versions(workspace.serving)}"
        )
    return ServedModel(os.path.join(workspace.serving, str(chosen)))


def _progress():
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)


@main.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO|FOLDER...")
@click.option("--output", required=True, metavar="DIR", help="Folder to write masks/ and overlays/ to.")
@click.option("--version", type=int, help="Version of the model; the live one if left out.")
@_with_config
@_with_workspace
def predict(workspace, config, photos, output, version) -> None:
    """Write the mask and an overlay of photos with the pushed model.

    Example: segpipe predict cat.jpg more-photos/ --output predictions
    """
    from components.inference.predict import expand
    from components.inference.predict import predict as predict_files

    files = expand(list(photos))
    model = _model(workspace, version)
    with _progress() as progress:
        task = progress.add_task("predicting", total=len(files))
        broken = predict_files(
            model, files, output, config.data.max_pixels, lambda count: progress.advance(task, count)
        )
    for file, why in broken.items():
        click.echo(f"segpipe: {file}: {why}; skipped", err=True)
    click.echo(f"wrote {len(files) - len(broken)} masks and overlays to {output}")
    sys.exit(1 if broken else 0)


@main.command()
@click.option("--images", required=True, metavar="DIR", help="Folder of photos.")
@click.option("--masks", required=True, metavar="DIR", help="Folder of masks with the photos' stems.")
@click.option("--version", type=int, help="Version of the model; the live one if left out.")
@click.option("--json", "as_json", is_flag=True, help="JSON even on a terminal; elsewhere it is always JSON.")
@_with_config
@_with_workspace
def evaluate(workspace, config, images, masks, version, as_json) -> None:
    """Score the pushed model on a folder of photos and masks.

    Example: segpipe evaluate --images photos --masks masks --json
    """
    from components.inference.evaluate import evaluate as evaluate_folder
    from pipeline.tables import scores_table

    model = _model(workspace, version)
    with _progress() as progress:
        task = progress.add_task("evaluating")
        found = evaluate_folder(
            model, images, masks, config.data, lambda count, total: progress.update(task, completed=count, total=total)
        )
    if as_json or not sys.stdout.isatty():
        click.echo(json.dumps(found, indent=2))
    else:
        _console().print(scores_table(found["metrics"]))
        click.echo(f"{found['photos']} photos, {len(found['skipped'])} skipped")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="All of it, for machines.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1), help="How many of the newest runs.")
@_with_workspace
def status(workspace, as_json, last) -> None:
    """List the runs, what became of them and which version is live; works while a run goes on.

    Example: segpipe status --json
    """
    from components.pusher.versions import live_version
    from pipeline.records import list_runs, run_summary
    from pipeline.tables import runs_table

    runs = list_runs(workspace.metadata, newest=last, writing=workspace.is_held())
    live = live_version(workspace.serving)
    if as_json:
        click.echo(json.dumps({"live_version": live, "runs": [run_summary(run) for run in runs]}, indent=2))
    elif not runs:
        click.echo(f"no run in {workspace.root} yet")
    else:
        _console().print(runs_table(runs, live))
