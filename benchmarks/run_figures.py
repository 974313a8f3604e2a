"""The figures of the newest run of a workspace: seconds per component, bytes per example, scores per class.

make run DATA=<folder> WORKSPACE=workspace-pets
.venv/bin/python benchmarks/run_figures.py workspace-pets
"""

import glob
import json
import os
import sys

from figures import raw_bytes
from rich.console import Console
from rich.table import Table

from components.ingest.spans import list_spans, read_manifest
from pipeline.records import newest_run
from pipeline.tables import scores_table
from pipeline.workspace import Workspace

_FLOAT_EXAMPLE = 96 * 128 * (3 + 1) * 4


def _size(folder: str) -> int:
    return sum(os.path.getsize(path) for path in glob.glob(os.path.join(folder, "*")))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def main(root: str) -> None:
    """Prints the figures of the workspace at `root`."""
    workspace, console = Workspace.at(root), Console(highlight=False, width=110)
    run = newest_run(workspace.metadata)
    if run is None or run.summary is None:
        sys.exit(f"{root}: holds no run that was evaluated; run segpipe run --workspace {root} first")

    seconds = _table("Seconds per component", "component", "state", "s")
    for node in run.nodes.values():
        seconds.add_row(node.name, node.state, f"{node.seconds:.1f}")
    console.print(seconds)

    raw, files = raw_bytes(workspace.data)
    examples = read_manifest(workspace.data, list_spans(workspace.data)[-1]).ingested
    transformed = run.output("Transform", "transformed_examples")
    stored = sum(_size(folder) for folder in glob.glob(os.path.join(transformed.uri, "Split-*")))
    table = _table("Bytes per example", "what", "bytes", "of the files' own")
    for name, each in (
        ("source files (photo + mask)", files),
        ("raw examples", raw),
        ("transformed examples", stored / examples),
        ("for comparison: float32 features at 96x128", _FLOAT_EXAMPLE),
    ):
        table.add_row(name, f"{each:,.0f}", f"{each / files:.3f}")
    console.print(table)

    model_run = run.output("Trainer", "model_run")
    with open(os.path.join(model_run.uri, "learning_curve.json"), encoding="utf-8") as file:
        curve = json.load(file)
    console.print(f"{curve['parameters']:,} parameters, {curve['steps']} steps, {curve['photos']} training photos")
    console.print(f"verdict {run.verdict}; {run.summary['metrics']['photos']:.0f} evaluated photos, at their own size:")
    console.print(scores_table(run.summary["metrics"], intervals=run.summary.get("intervals")))
    console.print(f"mean_iou at the model's size {run.summary['metrics']['model_size/mean_iou']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "workspace")
