"""What a finished workspace is used for: predictions, other formats, notebooks; two real spans, two real runs."""

import json

import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from notebook_runs import execute, pictures, texts
from PIL import Image
from workbench import Bench, drawn

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("use"))
    for seed in (17, 18):
        bench.ingest(drawn(bench.folder / f"drawn-{seed}", seed=seed))
        bench.run()
    return bench


@pytest.fixture(scope="module")
def last_run(bench) -> dict:
    return bench.status()["runs"][-1]


def test_predict_writes_a_mask_for_every_photo_of_two_folders_with_the_same_names(bench):
    folders = [bench.folder / f"drawn-{seed}" / "images" for seed in (17, 18)]
    done = bench.segpipe("predict", *folders, "--output", bench.folder / "predictions", "--json")
    found = json.loads(done.stdout)
    assert (len(found["photos"]), found["skipped"]) == (64, {})
    assert len({photo["mask"] for photo in found["photos"]}) == 64
    for photo in found["photos"]:
        mask = Image.open(bench.folder / "predictions" / photo["mask"])
        assert (mask.mode, mask.size) == ("P", Image.open(photo["file"]).size)
        values, counts = np.unique(np.asarray(mask), return_counts=True)
        shares = dict(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True))
        expected = {name: shares.get(value, 0.0) for name, value in (("pet", 1), ("background", 2), ("contour", 3))}
        assert photo["class_shares"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_the_pushed_model_is_exported_and_compared_on_the_newest_evaluation_photos(bench, kind):
    output = bench.folder / f"model.{kind}"
    done = bench.segpipe("export", "--format", kind, "--output", output)
    about = json.loads((bench.folder / f"model.{kind}.json").read_text())
    manifest = json.loads((bench.workspace / "data" / "span-2" / "manifest.json").read_text())
    photos = sum(shard["examples"] for shard in manifest["splits"]["eval"])
    assert about["compared"]["photos"] == photos > 0
    assert about["compared"]["difference"] <= 0.005
    for side in ("saved_model", "exported"):
        for figure in (f"{about['compared'][side]['mean_iou']:.4f}", f"{about['compared'][side]['bytes'] / 1e6:.2f}"):
            assert figure in done.stdout
    assert f"{photos} photos: mean IoU differs by" in done.stdout
    assert about["model"]["run_id"] in {run["run_id"] for run in bench.status()["runs"]}


def test_the_data_notebook_shows_statistics_schema_anomalies_and_drift(bench, last_run):
    done = execute("data_validation", bench.workspace)
    shown = texts(done)
    assert f"run {last_run['run_id']}, span 2: {last_run['verdict']}" in shown
    assert "train: 0 anomalies" in shown and "No anomalies found" in shown
    assert "span 1 -> span 2" in shown
    for feature in ("brightness", "class_share/pet", "breed", "height"):
        assert feature in shown
    assert "facets-overview" in shown, "TFDV's own view is missing"
    assert len(pictures(done)) == 2


def test_the_model_notebook_shows_the_run_s_own_figures(bench, last_run):
    done = execute("model_analysis", bench.workspace)
    shown = texts(done)
    assert f"run {last_run['run_id']}: {last_run['verdict']}" in shown
    for name in ("mean_iou", "iou/pet", "pixel_accuracy"):
        assert str(round(last_run["metrics"][name], 4)) in shown
    for name, scores in last_run["slices"].items():
        assert name in shown and str(round(scores["mean_iou"], 3)) in shown
    assert "passed" in shown
    assert len(pictures(done)) == 3


def test_a_notebook_on_a_workspace_without_runs_says_what_to_do(tmp_path):
    with pytest.raises(CellExecutionError, match="run segpipe run --workspace"):
        execute("model_analysis", tmp_path)
