"""Quality of the default model beside the classic U-Net: the same photos, the same minutes of training, the same cores.

    make bench-quality DATA=<folder with images/ and annotations/> MINUTES=15

Each net goes through the whole pipeline, one after the other, and the scores are the Evaluator's, on the evaluation
split at the photos' own size and at the model's. The gate is open, so that a weak model is scored, too.
"""

import json
import os
import subprocess
import sys

import click
import tensorflow as tf
import yaml
from rich.console import Console
from rich.table import Table

from pipeline.config import Config
from pipeline.records import newest_run
from pipeline.workspace import Workspace
from trainer.metrics import MODEL_SIZE
from trainer.model import build_model
from trainer.settings import ModelSettings

_OPEN_GATE = {"min_mean_iou": 0.0, "min_class_iou": 0.0, "max_drop": 1.0}
# Without batch norm the U-Net does not bear the default's rate; a third of it trained fastest.
_NETS = {"default": {}, "unet": {"model": {"name": "unet"}, "training": {"learning_rate": 1e-3}}}


def gflop(settings: ModelSettings, features) -> float:
    """10^9 floating point operations of one photo as exported; a multiplication and an addition are two.

    The pass of the mirrored photo counts where the export averages over it.
    """
    model = build_model(settings, features.height, features.width, features.num_classes)
    signature = tf.TensorSpec([1, features.height, features.width, 3])
    graph = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(signature).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 1e9 * (1 + settings.flip_average)


def train(name: str, sections: dict, workspace: Workspace, minutes: float) -> dict:
    """Runs the pipeline with one config and returns what is known of the run."""
    sections = sections | {"gate": _OPEN_GATE, "training": sections.get("training", {}) | {"minutes": minutes}}
    config = os.path.join(workspace.root, f"{name}.yaml")
    with open(config, "w", encoding="utf-8") as file:
        yaml.safe_dump(sections, file)
    subprocess.run(["segpipe", "run", "--config", config, "--workspace", workspace.root], check=True)
    run = newest_run(workspace.metadata)
    with open(os.path.join(run.output("Trainer", "model_run").uri, "learning_curve.json"), encoding="utf-8") as file:
        curve = json.load(file)
    parsed = Config(**sections)
    return {
        "parameters": f"{curve['parameters']:,}",
        "GFLOP a photo": f"{gflop(parsed.model, parsed.features):.3f}",
        "steps": f"{curve['steps']:,}",
        "s a step": f"{run.nodes['Trainer'].seconds / curve['steps']:.3f}",
        "metrics": run.summary["metrics"],
        "intervals": run.summary["intervals"],
    }


@click.command()
@click.option("--data", required=True, help="Folder with images/ and annotations/.")
@click.option("--workspace", "root", default="workspace-quality", show_default=True)
@click.option("--minutes", default=15.0, show_default=True, help="Of training, for each net.")
def main(data: str, root: str, minutes: float) -> None:
    """Trains both nets and prints one table."""
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    folders = ["--images", f"{data}/images", "--masks", f"{data}/annotations/trimaps"]
    lists = ["--split-lists", f"{data}/annotations", "--workspace", root]
    subprocess.run(["segpipe", "ingest", *folders, *lists], check=True)
    workspace = Workspace.at(root)
    found = {name: train(name, sections, workspace, minutes) for name, sections in _NETS.items()}
    _print(found, f"{minutes:g} minutes of training each, on {len(os.sched_getaffinity(0))} of the cores")


def _print(found: dict[str, dict], title: str) -> None:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("", *found):
        table.add_column(column, justify="right" if column else "left")
    for row in ("parameters", "GFLOP a photo", "steps", "s a step"):
        table.add_row(row, *(net[row] for net in found.values()))
    scores = ("mean_iou", "pixel_accuracy", "binary_iou", *(f"iou/{name}" for name in Config().features.class_names))
    for prefix, where in (("", "at the photos' own size"), (MODEL_SIZE, "at the model's size")):
        table.add_section()
        table.add_row(where)
        for name in scores:
            table.add_row(name, *(_score(net, prefix + name) for net in found.values()))
    Console(highlight=False, width=110).print(table)


def _score(net: dict, name: str) -> str:
    half_width = net["intervals"].get(name)
    return f"{net['metrics'][name]:.3f}" + (f" ± {half_width:.3f}" if half_width else "")


if __name__ == "__main__":
    main()
