"""Seconds of a run that do not grow with the photos: the first on a few, and one with nothing new; beside TensorFlow.

.venv/bin/python benchmarks/startup.py [--rounds N]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from figures import Figure, report

from pipeline.records import newest_run
from pipeline.workspace import Workspace

PYTHON, SEGPIPE = sys.executable, str(Path(sys.executable).parent / "segpipe")
BASE = "python -c 'import tensorflow'"
FEW = "a first run on 32 photos, 4 steps"
FIRST, WHOLE = "run with nothing new, to its first component", "the same, to its exit"
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


def main() -> None:
    """Prints the table of medians; the rows of a round follow each other, so that all meet the same load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figures", help="a file of JSON lines to append the rows to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segpipe-startup-") as folder:
        drawn, workspace, config = f"{folder}/drawn", f"{folder}/workspace", f"{folder}/config.yaml"
        Path(config).write_text(yaml.safe_dump(TINY))
        place = ("--workspace", workspace, "--config", config)
        masks = ("--masks", f"{drawn}/annotations/trimaps", "--split-lists", f"{drawn}/annotations")
        seconds(SEGPIPE, "draw", "--output", drawn, "--photos", "32")
        seconds(SEGPIPE, "ingest", "--images", f"{drawn}/images", *masks, *place)
        times = {FEW: [seconds(SEGPIPE, "run", *place)]}
        # It compares with the model that the first one pushed; from the third on nothing is new.
        seconds(SEGPIPE, "run", *place)
        for _ in range(options.rounds):
            times.setdefault(BASE, []).append(seconds(PYTHON, "-c", "import tensorflow"))
            times.setdefault("segpipe --help", []).append(seconds(SEGPIPE, "--help"))
            start = time.time()
            whole = seconds(SEGPIPE, "run", *place)
            first = newest_run(Workspace.at(workspace).metadata).started - start
            times.setdefault(FIRST, []).append(first)
            times.setdefault(WHOLE, []).append(whole)

    medians = {what: statistics.median(measured) for what, measured in times.items()}
    base = medians.pop(BASE)
    goals = {FIRST: "2", WHOLE: "15 s"}
    rows = [
        Figure(what, f"{value:.2f} s", BASE, f"{base:.2f} s", value / base, goals.get(what, ""))
        for what, value in medians.items()
    ]
    report("fixed cost of a run", rows, options.figures)


if __name__ == "__main__":
    main()
