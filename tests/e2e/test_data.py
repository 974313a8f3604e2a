"""Nothing unvalidated trains; own classes and ignore values work from YAML; status and predict work beside a run."""

import json
import subprocess
import time
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from workbench import Bench, drawn, executed, with_unknown_breed

pytestmark = pytest.mark.e2e


def test_an_anomaly_stops_the_run_before_transform_and_is_named(tmp_path):
    bench = Bench(tmp_path)
    bench.ingest(with_unknown_breed(drawn(tmp_path / "drawn")))
    done = bench.segpipe("run", "--config", bench.config, status=3)
    assert "refused, nothing is pushed" in done.stderr and "breed" in done.stderr and "Unicorn" in done.stderr
    run = bench.status()["runs"][-1]
    assert run["verdict"] == "refused"
    assert run["nodes"]["AnomalyGate"]["state"] == "failed"
    assert executed(run).isdisjoint({"Transform", "Trainer", "SegmentationEvaluator", "AtomicPusher"})
    assert bench.versions() == []


def _two_class_dataset(folder, count=24):
    """Photos with a bright disc on a dark ground; masks of 10 and 20 for its halves, 0 for the ground, 255 unknown."""
    rng = np.random.default_rng(3)
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True)
    y, x = np.mgrid[:80, :100]
    for index in range(count):
        centre_x, centre_y, radius = rng.uniform(35, 65), rng.uniform(30, 50), rng.uniform(15, 25)
        distance = np.hypot(x - centre_x, y - centre_y)
        mask = np.where(distance < radius, np.where(x < centre_x, 10, 20), 0).astype(np.uint8)
        mask[np.abs(distance - radius) < 2] = 255
        photo = np.where(distance < radius, 200, 60)[..., None] + rng.normal(0, 12, [80, 100, 3])
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / "photos" / f"disc {index}.jpg", quality=92)
        Image.fromarray(mask).save(folder / "masks" / f"disc {index}.png")
    return folder


OWN_CLASSES = {
    "data": {"slice_keys": {"parity": {"[02468]$": "even", "[13579]$": "odd"}}, "eval_share": 0.3},
    "features": {
        "classes": [{"name": "ground", "values": [0]}, {"name": "disc", "values": [10, 20]}],
        "ignore_values": [255],
        "background": "ground",
        "height": 32,
        "width": 48,
    },
    "training": {"steps": 60, "batch_size": 8, "evaluations": 2, "augment": {"enabled": False}},
}


def test_own_classes_with_an_ignore_value_train_predict_and_evaluate(tmp_path):
    dataset = _two_class_dataset(tmp_path / "own")
    bench = Bench(tmp_path, OWN_CLASSES)
    folders = ("--images", dataset / "photos", "--masks", dataset / "masks")
    done = bench.segpipe("ingest", *folders, "--config", bench.config)
    assert "24 photos found = 24 ingested" in done.stdout
    run = bench.run()
    assert run["verdict"] == "pushed"
    assert set(run["slices"]) == {"parity=even", "parity=odd"}
    assert run["metrics"]["iou/disc"] > 0.6, "a bright disc on a dark ground is learnt in seconds"

    bench.segpipe("predict", dataset / "photos", "--output", tmp_path / "out", "--config", bench.config)
    mask = Image.open(tmp_path / "out" / "masks" / "disc 0.png")
    assert (mask.mode, mask.size) == ("P", (100, 80))
    assert set(np.unique(np.asarray(mask))) <= {0, 10}, "masks hold the user's own values, the first of a class"
    assert Image.open(tmp_path / "out" / "overlays" / "disc 0.png").size == (100, 80)

    scored = json.loads(bench.segpipe("evaluate", *folders, "--config", bench.config).stdout)
    assert scored["photos"] == 24
    truth = [np.asarray(Image.open(path)) for path in sorted((dataset / "masks").iterdir())]
    counted = sum(int((mask != 255).sum()) for mask in truth)
    assert np.sum(scored["confusion_matrix"]) == counted, "ignored pixels are in no metric"


@dataclass(frozen=True)
class Asked:
    """A run that was asked about while it went on.

    Attributes:
      verdicts: what `segpipe status` said of it meanwhile.
      second: what another run said meanwhile.
      stdout, stderr: what it said itself.
    """

    bench: Bench
    verdicts: set[str]
    second: str
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Asked:
    bench = Bench(tmp_path_factory.mktemp("asked"))
    bench.ingest(drawn(bench.folder / "drawn"))
    command = bench.command("run", "--config", bench.config)
    verdicts, second = set(), None
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=bench.folder, **pipes) as running:
        while running.poll() is None:
            runs = bench.status()["runs"]
            verdicts.add(runs[-1]["verdict"] if runs else "none")
            if runs and second is None:
                second = bench.segpipe("run", "--config", bench.config, status=1).stderr
            time.sleep(0.5)
        said = Asked(bench, verdicts, second, running.stdout.read(), running.stderr.read())
    assert running.returncode == 0, said.stderr
    return said


def test_status_answers_while_a_run_goes_on_and_a_second_run_is_refused(asked):
    assert "running" in asked.verdicts
    assert "is in use by segpipe run" in asked.second
    assert asked.bench.status()["runs"][-1]["verdict"] == "pushed"


def test_the_report_holds_figures_and_a_picture(asked):
    assert "iou/contour" in asked.stdout and "pushed version" in asked.stdout
    (report,) = (asked.bench.workspace / "reports").iterdir()
    figures = json.loads((report / "report.json").read_text())
    assert figures["metrics"]["mean_iou"] is not None
    picture = np.asarray(Image.open(report / "predictions.png").convert("RGB"))
    assert picture.shape[0] > 500 and picture.std() > 20
    # The log is in a file, and TFDV's flood of warnings about bytes that are no UTF-8 is not in it.
    (log,) = (asked.bench.workspace / "logs").glob("run-*.log")
    assert "UTF-8" not in log.read_text(errors="replace")
    assert "UTF-8" not in asked.stderr and len(asked.stderr.splitlines()) < 30
