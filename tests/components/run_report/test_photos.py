"""The pictures of the page: those photos that were ranked, and no other, each as photo, truth and prediction."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from drawing import write_brightness_model, write_pets
from PIL import Image

from components.example_gen.read import find_examples
from components.inference.served_model import ServedModel
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.run_report.photos import photo_strips
from trainer.features import ClassSpec, FeatureSpec

SPEC = FeatureSpec(
    classes=(ClassSpec(name="background", values=(2,)), ClassSpec(name="pet", values=(1, 3), colour="#ffc914")),
    height=32,
    width=48,
)
EVALUATED = [f"pug_{number}" for number in range(2, 9)]


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> str:
    """A folder that holds the TFRecords of an evaluation split, and nothing else."""
    folder = tmp_path_factory.mktemp("photos")
    source = write_pets(folder / "source", ["pug_1"], EVALUATED)
    trimaps, lists = str(source / "annotations" / "trimaps"), str(source / "annotations")
    outcome = ingest(str(folder / "data"), str(source / "images"), trimaps, SPEC, DataSettings(), lists)
    (folder / "Split-eval").mkdir()
    for path in Path(outcome.folder).glob("eval-*"):
        (folder / "Split-eval" / path.name).symlink_to(path)
    return str(folder / "Split-eval")


def ranked(*names: str) -> dict:
    return {"worst": [{"photo": name, "mean_iou": 0.25} for name in names], "median": [], "best": []}


def picture(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/webp"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def yellow(pixels: np.ndarray) -> int:
    """How many pixels lean to the colour of pets."""
    return int((pixels[..., 0] - pixels[..., 2] > 60).sum())


def test_each_ranked_photo_is_shown_with_its_truth_and_what_the_model_says(tmp_path, split):
    found = {}
    for name, inverted in (("good", False), ("bad", True)):
        model = write_brightness_model(tmp_path / name, SPEC, inverted)
        (found[name],) = photo_strips(ServedModel(str(model)), split, ranked("pug_4.jpg"))["worst"]
    good, bad = found["good"], found["bad"]
    assert (good["photo"], good["mean_iou"], good["width"], good["height"]) == ("pug_4.jpg", 0.25, 56, 40)
    photo, truth, prediction = map(picture, good["pictures"])
    assert yellow(photo) == 0 and yellow(truth) > 150
    assert abs(yellow(truth) - yellow(prediction)) < 0.5 * yellow(truth)
    assert yellow(picture(bad["pictures"][2])) > 3 * yellow(truth), "the bad model calls the ground pet"
    assert good["iou"]["pet"] > 0.6 > bad["iou"]["pet"]


def test_no_other_photo_is_predicted(tmp_path, split):
    asked = []

    class Counting(ServedModel):
        def labels(self, given, sizes):
            asked.extend(given)
            return super().labels(given, sizes)

    model = write_brightness_model(tmp_path / "model", SPEC)
    found = photo_strips(Counting(str(model)), split, ranked("pug_3.jpg", "pug_7.jpg", "gone.jpg"))
    assert [strip["photo"] for strip in found["worst"]] == ["pug_3.jpg", "pug_7.jpg"]
    assert len(asked) == 2


def test_photos_are_found_wherever_they_lie_in_the_records(split):
    names = [f"{stem}.jpg" for stem in EVALUATED]
    found = find_examples(split, [*names, "gone.jpg"])
    assert sorted(found) == sorted(names)
    assert all(example["filename"].decode() == name for name, example in found.items())
