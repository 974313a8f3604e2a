"""The picture of a report: real photos of a span beside what their masks and the model say."""

from pathlib import Path

import numpy as np
import pytest
from drawing import write_brightness_model, write_pets
from PIL import Image, ImageColor

from components.inference.served_model import ServedModel
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.run_report.comparison import read_examples, write_comparison
from trainer.features import ClassSpec, FeatureSpec

GROUND, PET = "#17435e", "#ffc914"
SPEC = FeatureSpec(
    classes=(
        ClassSpec(name="background", values=(2,), colour=GROUND),
        ClassSpec(name="pet", values=(1, 3), colour=PET),
    ),
    height=32,
    width=48,
)


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> Path:
    """A folder that holds the TFRecords of an evaluation split of three photos, and nothing else."""
    folder = tmp_path_factory.mktemp("report")
    source = write_pets(folder / "source", ["pug_1"], ["pug_2", "pug_3", "pug_4"])
    trimaps, lists = str(source / "annotations" / "trimaps"), str(source / "annotations")
    outcome = ingest(str(folder / "data"), str(source / "images"), trimaps, SPEC, DataSettings(), lists)
    (folder / "Split-eval").mkdir()
    (folder / "Split-eval" / "shard").symlink_to(Path(outcome.folder) / "eval-00000-of-00001.tfrecord")
    return folder / "Split-eval"


@pytest.mark.parametrize("count, read", [(1, 1), (2, 2), (9, 3)])
def test_as_many_examples_are_read_as_asked_for_and_there_are(split, count, read):
    examples = read_examples(str(split), count)
    assert len({example["filename"] for example in examples}) == read
    assert all((example["height"], example["width"]) == (40, 56) for example in examples)


def count_of(picture: np.ndarray, colour: str) -> int:
    return int((np.abs(picture[..., :3].astype(int) - ImageColor.getrgb(colour)).max(axis=-1) <= 2).sum())


def test_the_picture_shows_truth_and_prediction_in_the_classes_colours(tmp_path, split):
    pictures = {}
    for name, inverted in (("good", False), ("bad", True)):
        model = write_brightness_model(tmp_path / name, SPEC, inverted)
        path = tmp_path / f"{name}.png"
        write_comparison(ServedModel(str(model)), str(split), str(path), count=2)
        pictures[name] = np.asarray(Image.open(path))
    # Truth is the same in both; the bad model calls all of the ground pet, so its picture holds more of that colour.
    assert count_of(pictures["good"], PET) > 1000
    assert count_of(pictures["bad"], PET) > 1.5 * count_of(pictures["good"], PET)
    assert count_of(pictures["good"], GROUND) > 1.5 * count_of(pictures["bad"], GROUND)


def test_the_picture_grows_with_its_rows(tmp_path, split):
    model = write_brightness_model(tmp_path / "model", SPEC)
    heights = []
    for count in (1, 3):
        write_comparison(ServedModel(str(model)), str(split), str(tmp_path / f"{count}.png"), count)
        heights.append(Image.open(tmp_path / f"{count}.png").height)
    assert heights[1] > 2 * heights[0]
