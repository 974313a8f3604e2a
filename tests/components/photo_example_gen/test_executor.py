"""PhotoExampleGen: every readable photo of a folder becomes one example, each other one is named."""

import json
import os
from pathlib import Path

import pytest
import tensorflow as tf
from drawing import decoded, encoded, pet, save, turned
from tfx.types import standard_artifacts

from components.errors import SegpipeError, UsageError
from components.photo_example_gen import executor
from components.photo_example_gen.executor import Executor
from components.photo_example_gen.listing import write_listing


@pytest.fixture
def images(tmp_path) -> Path:
    """A clean JPEG, a JPEG on its side, a PNG, and what is none of them."""
    folder = tmp_path / "images"
    save(folder / "clean.jpg", pet(40, 56, 1)[0])
    save(folder / "turned.jpg", pet(40, 56, 2)[0], **turned(6))
    save(folder / "other.png", pet(48, 32, 3)[0])
    save(folder / "broken.jpg", encoded(pet()[0], "JPEG")[:200])
    save(folder / "empty.jpg", b"")
    save(folder / "notes.txt", b"no photo by its name")
    return folder


def execute(images: Path, folder: Path, max_pixels: int = 10_000) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    listing = write_listing(str(images), max_pixels, str(folder / "listings"))
    Executor().Do({}, {"examples": [examples]}, {"listing": listing, "fingerprint": "x"})
    return examples


def read(examples: standard_artifacts.Examples) -> dict[str, dict]:
    """File name -> its features."""
    files = sorted(str(path) for path in Path(examples.uri, "Split-photos").iterdir())
    found = {}
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        size = (features["height"].int64_list.value[0], features["width"].int64_list.value[0])
        found[features["filename"].bytes_list.value[0].decode()] = {
            "size": size,
            "image": features["image"].bytes_list.value[0],
        }
    return found


def test_readable_photos_are_examples_and_the_others_are_named(tmp_path, images):
    examples = execute(images, tmp_path)
    found = read(examples)
    assert {name: values["size"] for name, values in found.items()} == {
        "clean.jpg": (40, 56),
        "turned.jpg": (56, 40),
        "other.png": (48, 32),
    }
    assert found["clean.jpg"]["image"] == (images / "clean.jpg").read_bytes()
    assert decoded(found["turned.jpg"]["image"]).shape == (56, 40, 3), "stored upright"
    skipped = json.loads(Path(examples.uri, "skipped.json").read_text())["photos"]
    assert set(skipped) == {"broken.jpg", "empty.jpg"} and skipped["empty.jpg"] == "empty_photo: zero bytes"
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"


def test_a_photo_that_is_too_large_is_skipped_by_name(tmp_path, images):
    save(images / "large.jpg", pet(100, 120)[0])
    examples = execute(images, tmp_path)
    assert "large.jpg" not in read(examples)
    skipped = json.loads(Path(examples.uri, "skipped.json").read_text())["photos"]
    assert "more than data.max_pixels 10000" in skipped["large.jpg"]


def test_many_photos_are_spread_over_shards_and_none_is_lost(tmp_path, images, monkeypatch):
    monkeypatch.setattr(executor, "_PHOTOS_PER_SHARD", 2)
    examples = execute(images, tmp_path)
    assert len(os.listdir(Path(examples.uri, "Split-photos"))) == 3
    assert len(read(examples)) == 3


def test_a_folder_without_a_single_readable_photo_fails(tmp_path):
    save(tmp_path / "images" / "empty.jpg", b"")
    with pytest.raises(SegpipeError, match=r"none of its photos can be read \(empty.jpg: empty_photo"):
        execute(tmp_path / "images", tmp_path)


def test_a_photo_that_changes_after_planning_is_noticed(tmp_path, images):
    listing = write_listing(str(images), 10_000, str(tmp_path / "listings"))
    save(images / "clean.jpg", pet(40, 56, 9)[0])
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    with pytest.raises(SegpipeError, match="clean.jpg: changed since the run was planned"):
        Executor().Do({}, {"examples": [examples]}, {"listing": listing, "fingerprint": "x"})


def test_the_listing_has_a_new_path_exactly_when_a_photo_changes(tmp_path, images):
    def path() -> str:
        return write_listing(str(images), 10_000, str(tmp_path / "listings"))

    first = path()
    save(images / "notes.txt", b"still no photo")
    assert path() == first
    (images / "clean.jpg").touch()
    assert path() == first
    save(images / "clean.jpg", pet(40, 56, 9)[0])
    assert path() != first


@pytest.mark.parametrize("make, problem", [(False, "no such folder"), (True, "holds no photo")])
def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, make, problem):
    if make:
        (tmp_path / "images").mkdir()
    with pytest.raises(UsageError, match=problem):
        write_listing(str(tmp_path / "images"), 10_000, str(tmp_path / "listings"))
