"""The commands that use a pushed model."""

import json
import sys
from dataclasses import asdict

import click

from components.errors import UsageError
from pipeline.cli_options import stdout_console, with_config, with_json, with_version, with_workspace


def _model(workspace, version: int | None):
    """The served model of a workspace, the live one or a given version, and its version."""
    from components.inference.served_model import ServedModel
    from components.pusher.versions import list_versions, live_version, version_folder

    chosen = live_version(workspace.serving) if version is None else version
    if chosen is None:
        raise UsageError(f"{workspace.serving} holds no model; run segpipe run --workspace {workspace.root} first")
    if chosen not in list_versions(workspace.serving):
        raise UsageError(
            f"--version {chosen}: not in {workspace.serving}, which has {list_versions(workspace.serving)}"
        )
    return ServedModel(version_folder(workspace.serving, chosen)), chosen


def _progress():
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)


def _name_skipped(skipped: dict[str, str]) -> None:
    for file, why in skipped.items():
        click.echo(f"segpipe: {file}: {why}; skipped", err=True)


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO|FOLDER...")
@click.option("--output", required=True, metavar="DIR", help="Folder to write masks/ and overlays/ to.")
@with_version
@click.option("--overlays/--no-overlays", default=True, help="Write overlays beside the masks; they are the default.")
@with_json
@with_config
@with_workspace
def predict(workspace, config, as_json, photos, output, version, overlays) -> None:
    """Write the mask and an overlay of photos with the pushed model.

    Example: segpipe predict cat.jpg more-photos/ --output predictions
    """
    from components.inference.predict import expand
    from components.inference.predict import predict as predict_files

    files = expand(list(photos))
    model, chosen = _model(workspace, version)
    with _progress() as progress:
        task = progress.add_task("predicting", total=len(files))
        found = predict_files(
            model, files, output, config.data.max_pixels, lambda count: progress.advance(task, count), overlays
        )
    _name_skipped(found.skipped)
    if as_json:
        click.echo(json.dumps({"model_version": chosen, **asdict(found)}, indent=2))
    else:
        click.echo(f"wrote {len(found.photos)} masks{' and overlays' if overlays else ''} to {output}")
    sys.exit(1 if found.skipped else 0)


@click.command()
@click.option("--span", type=click.IntRange(1), help="The span whose photos get masks.")
@click.option("--images", metavar="DIR", help="Or a folder of photos, which need no masks.")
@click.option("--output", required=True, metavar="DIR", help="Folder to write the records and manifest.json to.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@with_config
@with_workspace
def infer(workspace, config, span, images, output, quiet) -> None:
    """Write the masks of a whole span or folder as sharded TFRecords, with the live model.

    Example: segpipe infer --images photos --output masks
    """
    from pipeline.inference import infer as infer_all

    done = infer_all(config, workspace, span, images, output, quiet)
    manifest = done.manifest
    _name_skipped(manifest.skipped)
    what = "wrote" if done.new else "nothing new;"
    shards = "shard" if len(manifest.shards) == 1 else "shards"
    click.echo(
        f"{what} {manifest.records} masks of model version {manifest.model_version} in {len(manifest.shards)} {shards} "
        f"in {output}"
    )
    click.echo(
        f"{manifest.photos_found} photos found = {manifest.records} masks + {len(manifest.skipped)} skipped\n"
        f"log {done.log}"
    )
    sys.exit(1 if manifest.skipped else 0)


@click.command()
@click.option("--images", required=True, metavar="DIR", help="Folder of photos.")
@click.option("--masks", required=True, metavar="DIR", help="Folder of masks with the photos' stems.")
@with_version
@click.option("--json", "as_json", is_flag=True, help="JSON even on a terminal; elsewhere it is always JSON.")
@with_config
@with_workspace
def evaluate(workspace, config, images, masks, version, as_json) -> None:
    """Score the pushed model on a folder of photos and masks.

    Example: segpipe evaluate --images photos --masks masks --json
    """
    from components.inference.evaluate import evaluate as evaluate_folder
    from pipeline.tables import scores_table

    model, _ = _model(workspace, version)
    with _progress() as progress:
        task = progress.add_task("evaluating")
        found = evaluate_folder(
            model,
            images,
            masks,
            config.data,
            config.metrics,
            lambda count, total: progress.update(task, completed=count, total=total),
        )
    if as_json or not sys.stdout.isatty():
        click.echo(json.dumps(found, indent=2))
    else:
        stdout_console().print(scores_table(found["metrics"], intervals=found["intervals"]))
        click.echo(f"{found['photos']} photos, {len(found['skipped'])} skipped")


@click.command()
@click.option("--format", "kind", required=True, type=click.Choice(["tflite", "onnx"]))
@click.option("--output", required=True, metavar="FILE", help="File to write; FILE.json beside it says how to use it.")
@with_version
@click.option("--images", metavar="DIR", help="Photos to compare on; the newest span's evaluation photos if left out.")
@click.option("--masks", metavar="DIR", help="Their masks.")
@click.option("--photos", default=200, show_default=True, type=click.IntRange(1), help="At most this many.")
@with_json
@with_config
@with_workspace
def export(workspace, config, as_json, kind, output, version, images, masks, photos) -> None:
    """Write the pushed model as one file for TensorFlow Lite or ONNX, and compare both on real photos.

    The file takes pixels at the model's size. It is written only if its mean IoU is within 0.005 of the SavedModel's.

    Example: segpipe export --format tflite --output model.tflite
    """
    from components.export.export import export as export_model
    from pipeline.export_command import pairs_to_compare, parity_table

    model, chosen = _model(workspace, version)
    pairs, skipped = pairs_to_compare(config, workspace, model.spec, photos, images, masks)
    _name_skipped(skipped)
    with _progress() as progress:
        progress.add_task(f"converting version {chosen} and comparing it on {len(pairs)} photos", total=None)
        parity = export_model(model, kind, output, pairs)
    if as_json:
        click.echo(json.dumps({"model_version": chosen, "file": output} | parity.record(), indent=2))
        return
    console = stdout_console()
    console.print(parity_table(parity, kind))
    console.print(
        f"{parity.photos} photos: mean IoU differs by {parity.difference:.5f}, {parity.same_pixels:.2%} of all pixels "
        f"have the same class\nwrote {output} and {output}.json",
        soft_wrap=True,
    )
