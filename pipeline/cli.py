"""The `segpipe` command: parses, calls, prints. A command imports what it needs when it runs, so help is instant."""

import json
import os
import sys
import warnings

import click

from components.errors import RefusedError, UsageError
from pipeline.cli_model import evaluate, export, infer, predict
from pipeline.cli_operating import bless, gc, rollback
from pipeline.cli_options import Group, stdout_console, with_config, with_json, with_shared_workspace, with_workspace
from pipeline.cli_remote import compile_pipeline, submit
from pipeline.cli_report import diff, report, status
from pipeline.cli_schedule import schedule
from pipeline.cli_schema import schema
from pipeline.cli_serve import serve


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
@click.option("--images", metavar="DIR", help="Folder of photos.")
@click.option("--masks", metavar="DIR", help="Folder of masks with the photos' stems.")
@click.option("--download", metavar="NAME", help="Or a dataset to fetch: pets, or one of the config's.")
@click.option("--split-lists", metavar="DIR", help="Folder of trainval.txt and test.txt; else names are hashed.")
@click.option("--span", type=click.IntRange(1), help="Number of the span to make; the next free one if left out.")
@click.option("--only-new", is_flag=True, help="Leave out the photos that earlier spans hold: for a folder that grows.")
@click.option("--max-quarantine", type=click.FloatRange(0, 1), metavar="SHARE", help="Overrides data.max_quarantine.")
@click.option("--max-duplicates", type=click.FloatRange(0, 1), metavar="SHARE", help="Overrides data.max_duplicates.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@with_json
@with_config
@with_shared_workspace
def ingest(
    workspace,
    as_json,
    config,
    quiet,
    images,
    masks,
    download,
    split_lists,
    span,
    only_new,
    max_quarantine,
    max_duplicates,
) -> None:
    """Read photos and masks into a span of TFRecords.

    Example: segpipe ingest --images photos --masks masks --config own.yaml
    """
    if download is not None:
        if images or masks or split_lists:
            raise UsageError("--download brings its own folders; leave --images, --masks and --split-lists out")
        from pipeline.download import download as fetch

        fetched = fetch(config, workspace, download, quiet)
        images, masks, split_lists = fetched.images, fetched.masks, fetched.split_lists
    for option, folder in (("--images", images), ("--masks", masks)):
        if folder is None:
            raise click.MissingParameter(param_type="option", param_hint=option)
    from pipeline.ingest_command import ingest_with_progress

    given = {"max_quarantine": max_quarantine, "max_duplicates": max_duplicates}
    data = config.data.model_copy(update={name: share for name, share in given.items() if share is not None})
    config = config.model_copy(update={"data": data})
    outcome = ingest_with_progress(config, workspace, images, masks, split_lists, span, quiet, only_new)
    manifest = outcome.manifest
    if as_json:
        counts = {"photos_found": manifest.photos_found, "quarantined": manifest.quarantined}
        counts["duplicates"] = manifest.duplicates
        counts |= {split: manifest.examples(split) for split in ("train", "eval")}
        place = {"written": outcome.written, "folder": outcome.folder, "span": manifest.span}
        click.echo(json.dumps(place | counts, indent=2))
        return
    if outcome.held:
        spans = ", ".join(map(str, outcome.held))
        click.echo(f"nothing new, every photo is in span {spans} already; --span N makes a span of them all the same")
        for entry in outcome.left_out:
            click.echo(f"  left out: {os.path.basename(entry.file)}, {entry.reason}: {entry.detail}")
        return
    done = "wrote" if outcome.written else "nothing new, the same input is in"
    click.echo(f"{done} {outcome.folder}")
    splits = " + ".join(f"{manifest.examples(split)} {split}" for split in ("train", "eval"))
    quarantined = sum(manifest.quarantined.values())
    click.echo(
        f"{manifest.photos_found} photos found = {manifest.ingested} ingested ({splits}) + {quarantined} quarantined"
    )
    for reason, count in manifest.quarantined.items():
        click.echo(f"  {count} {reason}")
    if manifest.duplicates:
        kinds = ", ".join(f"{count} {kind}" for kind, count in manifest.duplicates.items())
        named = os.path.join(outcome.folder, "duplicates.jsonl")
        click.echo(f"{sum(manifest.duplicates.values())} evaluation photos also train ({kinds}); {named} names them")


@main.command()
@click.option("--engine", type=click.Choice(["local", "beam"]), default="local", show_default=True)
@click.option("--span", type=click.IntRange(1), help="The span to run on; the newest if left out.")
@click.option("--window", type=click.IntRange(1), help="How many spans train, that one included; else data.window.")
@click.option("--tuned", is_flag=True, help="Take the values that the newest segpipe tune found best.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@with_json
@with_config
@with_workspace
def run(workspace, as_json, config, engine, span, window, tuned, quiet) -> None:
    """Validate, transform, train, gate and push.

    Example: segpipe run --config own.yaml
    """
    from pipeline.execute import execute
    from pipeline.run_record import run_summary
    from pipeline.tables import value_text

    if tuned:
        from pipeline.tuning import with_tuned

        config, taken = with_tuned(config, workspace)
        for path, (before, after) in taken.items():
            click.echo(f"tuned: {path} {value_text(after)} (the config says {value_text(before)})", err=as_json)
    execution = execute(config, workspace, engine, span, window, quiet)
    finished = execution.run
    refusal = RefusedError("refused, nothing is pushed: " + "; ".join(finished.reasons))
    if as_json:
        click.echo(json.dumps(run_summary(finished) | {"report": execution.report, "log": execution.log}, indent=2))
    else:
        _print_result(workspace, execution)
    if finished.verdict == "refused":
        if as_json:
            # The result says so already; two JSON documents would be none.
            click.echo(f"segpipe: {refusal}", err=True)
            sys.exit(refusal.exit_status)
        raise refusal


def _print_result(workspace, execution) -> None:
    from components.run_report import PICTURE
    from pipeline.tables import blessing_text, result_lines, scores_table

    finished, console = execution.run, stdout_console()
    if finished.summary:
        summary = finished.summary
        table = scores_table(summary["metrics"], summary["baseline"], summary.get("intervals"), finished.golden)
        console.print(table)
        if summary["lost_baseline"]:
            console.print(f"warning: {summary['lost_baseline']}", soft_wrap=True, markup=False)
        console.print()
    folder = workspace.report(finished.run_id)
    picture = os.path.join(folder, PICTURE)
    places = {"report": execution.report, "picture": picture if os.path.isfile(picture) else None, "log": execution.log}
    if finished.version is not None:
        places = {"model": os.path.join(workspace.serving, str(finished.version))} | places
    for line in result_lines(finished, places):
        console.print(line, soft_wrap=True)
    if execution.report is None:
        console.print("warning: the report could not be made; the log says why", soft_wrap=True)
    if execution.news is not None:
        console.print(execution.news, soft_wrap=True, markup=False)
    if finished.verdict != "refused":
        what = "pushed version" if finished.verdict == "pushed" else "nothing new; live is version"
        console.print(f"{what} {finished.version} in {workspace.serving}/{finished.version}", soft_wrap=True)
    if finished.blessing is not None:
        console.print(blessing_text(finished.blessing), soft_wrap=True, markup=False)


@main.command()
@click.option("--span", type=click.IntRange(1), help="The span to search on; the newest if left out.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@with_json
@with_config
@with_workspace
def tune(workspace, as_json, config, span, quiet) -> None:
    """Search for better settings with short trainings; `segpipe run --tuned` takes the best.

    Example: segpipe tune --config own.yaml
    """
    from pipeline.tables import trials_table
    from pipeline.tuning import tune as search

    done = search(config, workspace, span, quiet)
    if as_json:
        click.echo(json.dumps({"trials": done.trials, "best": done.best, "file": done.file, "log": done.log}, indent=2))
        return
    console = stdout_console()
    console.print(trials_table(done.trials))
    failed = config.tuning.trials - len(done.trials)
    if failed:
        console.print(
            f"{failed} of {config.tuning.trials} trials failed or would have repeated others; the log says why"
        )
    console.print(f"best values {done.file}; segpipe run --tuned takes them\nlog {done.log}", soft_wrap=True)


_models, _runs = (predict, infer, evaluate, export, serve), (schema, status, report, diff, bless, rollback, gc)
for command in (*_models, *_runs, compile_pipeline, submit, schedule):
    main.add_command(command)
