"""What the end-to-end tests share: a small drawn dataset, a net that trains in seconds, `segpipe` as a user runs it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from warm import PACKAGES, warm_server

REPOSITORY = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

# Small enough that a whole run takes half a minute, most of it graphs that are built.
TINY = {
    "features": {"height": 32, "width": 32},
    # Half as many variables as the default net, whose graphs take most of a short training.
    "model": {"name": "unet", "filters": 4, "flip_average": False},
    "training": {"steps": 4, "batch_size": 8, "evaluations": 1},
}
OPEN_GATE = {"min_mean_iou": 0.0, "min_class_iou": 0.0, "max_drop": 1.0}
NODES = {
    "SpanExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "ModelCanary",
    "LatestBlessedModel",
    "SegmentationEvaluator",
    "Conservation",
    "AtomicPusher",
}
COMPARES = {"LatestBlessedModel", "SegmentationEvaluator", "Conservation", "AtomicPusher"}
"""What runs again where nothing changed but the baseline."""


def drawn(folder: Path, photos: int = 32, seed: int = 17) -> Path:
    """A drawn dataset in the Pets layout."""
    from components.ingest.draw import draw_dataset

    draw_dataset(str(folder), photos, seed)
    return folder


def with_unknown_breed(dataset: Path) -> Path:
    """The dataset with one photo that is called what the schema does not know: Unicorn."""
    for folder, suffix in (("images", ".jpg"), ("annotations/trimaps", ".png")):
        victim = sorted((dataset / folder).glob("*_1" + suffix))[0]
        victim.rename(victim.with_name("Unicorn_1" + suffix))
    with open(dataset / "annotations" / "trainval.txt", "a") as file:
        file.write("Unicorn_1 1 1 1\n")
    return dataset


def copy_source(folder: Path) -> Path:
    """A copy of what is installed, to edit or to build from."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


@dataclass
class Bench:
    """A workspace with its config, and the command line on both.

    Attributes:
      folder: holds all of it.
      source: root of the source tree whose code runs; None is the installed one.
    """

    folder: Path
    sections: dict = field(default_factory=dict)
    source: Path | None = None

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def serving(self) -> Path:
        return self.workspace / "serving_model"

    @property
    def config(self) -> Path:
        path = self.folder / "config.yaml"
        part = path.with_suffix(".part")
        part.write_text(yaml.safe_dump(TINY | {"gate": OPEN_GATE} | self.sections))
        # A command that was just started may be about to read it.
        part.replace(path)
        return path

    def command(self, *arguments: str) -> list[str]:
        """To start cold, from what is installed."""
        return [str(BIN / "segpipe"), *map(str, arguments), "--workspace", str(self.workspace)]

    def segpipe(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
        """Runs `segpipe`, forked from a warm process, and insists on its exit status."""
        process = warm_server().segpipe(self, *arguments)
        done = subprocess.CompletedProcess(arguments, process.wait(900), process.stdout, process.stderr)
        assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self._log_end()}"
        return done

    def ingest_command(self, dataset: Path) -> list[str]:
        """What `segpipe` is given to ingest a drawn dataset."""
        return [
            "ingest",
            *("--images", str(dataset / "images"), "--masks", str(dataset / "annotations" / "trimaps")),
            *("--split-lists", str(dataset / "annotations"), "--config", str(self.config)),
        ]

    def ingest(self, dataset: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
        return self.segpipe(*self.ingest_command(dataset), *arguments, status=status)

    def run(self, *arguments: str, status: int = 0) -> dict:
        """Runs the pipeline; returns the newest run of `status --json`."""
        self.segpipe("run", "--config", str(self.config), *arguments, status=status)
        return self.status()["runs"][-1]

    def run_here(self, run_fn: str = "trainer.train.run_fn", window: int | None = None):
        """Runs the DAG in this process, where a test can bring its own `run_fn`; returns the run's record."""
        from pipeline import local_runner
        from pipeline.config import load_config
        from pipeline.records import newest_run
        from pipeline.workspace import Workspace

        workspace = Workspace.at(str(self.workspace))
        local_runner.run(load_config(str(self.config)), workspace, "local", window=window, run_fn=run_fn)
        return newest_run(workspace.metadata)

    def status(self) -> dict:
        return json.loads(self.segpipe("status", "--json").stdout)

    def versions(self) -> list[str]:
        return sorted(os.listdir(self.serving)) if self.serving.exists() else []

    def _log_end(self) -> str:
        logs = sorted(self.workspace.glob("logs/*.log"))
        return "".join(logs[-1].read_text(errors="replace").splitlines(keepends=True)[-60:]) if logs else ""


def beam_workers(pid: int, shells: bool = False) -> list[psutil.Process]:
    """The processes of Beam's workers below a process, and, if asked for, the shells that started them."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        # One that has just ended, or is not waited for yet, has no command line any more.
        with contextlib.suppress(psutil.NoSuchProcess):
            is_worker = "sdk_worker_main" in " ".join(child.cmdline())
            if is_worker and (shells or child.name() not in ("sh", "dash", "bash")):
                found.append(child)
    return found


def executed(run: dict) -> set[str]:
    """Nodes of a run that did their work instead of taking it from the cache."""
    return {name for name, node in run["nodes"].items() if node["state"] != "cached"}


def weights(model: Path) -> dict:
    """The weights of a SavedModel, by name."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("weights/")]
    return {name: reader.get_tensor(name) for name in names}
