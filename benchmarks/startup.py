"""Seconds from a command to its first component and to its end when nothing is new, beside `import tensorflow`.

.venv/bin/python benchmarks/startup.py 5
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from pipeline.records import newest_run
from pipeline.workspace import Workspace

PYTHON, SEGPIPE = sys.executable, str(Path(sys.executable).parent / "segpipe")
TINY = {
    "features": {"height": 32, "width": 32},
    "model": {"filters": 4},
    "training": {"steps": 4, "batch_size": 8, "evaluations": 1},
    "gate": {"min_mean_iou": 0.0, "min_class_iou": 0.0, "max_drop": 1.0},
}


def seconds(*command: str) -> float:
    """Time of a command from its start to its exit."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(rounds: int) -> None:
    """Prints the table of medians; the rows of a round follow each other, so that all meet the same load."""
    with tempfile.TemporaryDirectory(prefix="segpipe-startup-") as folder:
        drawn, workspace, config = f"{folder}/drawn", f"{folder}/workspace", f"{folder}/config.yaml"
        Path(config).write_text(yaml.safe_dump(TINY))
        place = ("--workspace", workspace, "--config", config)
        masks = ("--masks", f"{drawn}/annotations/trimaps", "--split-lists", f"{drawn}/annotations")
        seconds(SEGPIPE, "draw", "--output", drawn, "--photos", "32")
        seconds(SEGPIPE, "ingest", "--images", f"{drawn}/images", *masks, *place)
        for _ in range(2):
            seconds(SEGPIPE, "run", *place)

        times: dict[str, list[float]] = {}
        for _ in range(rounds):
            times.setdefault("python -c 'import tensorflow'", []).append(seconds(PYTHON, "-c", "import tensorflow"))
            times.setdefault("segpipe --help", []).append(seconds(SEGPIPE, "--help"))
            start = time.time()
            whole = seconds(SEGPIPE, "run", *place)
            first = newest_run(Workspace.at(workspace).metadata).started - start
            times.setdefault("segpipe run, nothing new: to the first component", []).append(first)
            times.setdefault("segpipe run, nothing new: to the exit", []).append(whole)

    table = Table(box=None, pad_edge=False)
    for column in ("what", "s", "times import tensorflow"):
        table.add_column(column, justify="left" if column == "what" else "right")
    base = statistics.median(times["python -c 'import tensorflow'"])
    for what, measured in times.items():
        table.add_row(what, f"{statistics.median(measured):.2f}", f"{statistics.median(measured) / base:.2f}")
    Console(highlight=False, width=100).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
