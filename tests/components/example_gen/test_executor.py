"""SpanExampleGen's executor with real TFX artifacts: the records of the spans arrive whole, or it refuses."""

import glob
import os
from pathlib import Path

import pytest
import tensorflow as tf
from drawing import write_pets
from tfx.types import standard_artifacts

from components.errors import SegpipeError, UsageError
from components.example_gen.executor import Executor
from components.example_gen.window import write_window
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec


@pytest.fixture
def data(tmp_path) -> Path:
    """Two spans of 3 + 2 and 2 + 1 photos."""
    for name, train, test in (
        ("old", ["pug_1", "pug_2", "Bengal_1"], ["pug_3", "Bengal_2"]),
        ("new", ["pug_4", "pug_5"], ["pug_6"]),
    ):
        source = write_pets(tmp_path / name, train, test)
        for photo in source.glob("images/*.jpg"):
            # Photos of both sources are drawn alike; a trailing byte makes their contents differ.
            photo.write_bytes(photo.read_bytes() + name.encode())
        annotations = str(source / "annotations")
        ingest(
            str(tmp_path / "data"), str(source / "images"), annotations + "/trimaps", FeatureSpec(), DataSettings(),
            annotations,
        )  # fmt: skip
    return tmp_path / "data"


def execute(window: str, folder: Path) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    Executor().Do({}, {"examples": [examples]}, {"window": window, "fingerprint": "x"})
    return examples


def names(folder: str) -> list[str]:
    """File names in the records of a folder."""
    records = tf.data.TFRecordDataset(sorted(glob.glob(folder + "/*"))).as_numpy_iterator()
    parsed = (tf.train.Example.FromString(record).features.feature for record in records)
    return sorted(features["filename"].bytes_list.value[0].decode() for features in parsed)


@pytest.mark.parametrize(
    "spans, train, evaluation",
    [
        ([1], ["Bengal_1.jpg", "pug_1.jpg", "pug_2.jpg"], ["Bengal_2.jpg", "pug_3.jpg"]),
        ([2], ["pug_4.jpg", "pug_5.jpg"], ["pug_6.jpg"]),
        ([1, 2], ["Bengal_1.jpg", "pug_1.jpg", "pug_2.jpg", "pug_4.jpg", "pug_5.jpg"], ["pug_6.jpg"]),
    ],
    ids=["the old span", "the new span", "both"],
)
def test_every_record_of_the_window_arrives_once(tmp_path, data, spans, train, evaluation):
    examples = execute(write_window(str(data), spans), tmp_path)
    assert names(examples.uri + "/Split-train") == train
    assert names(examples.uri + "/Split-eval") == evaluation


def test_shards_are_copied_byte_for_byte(tmp_path, data):
    examples = execute(write_window(str(data), [2]), tmp_path)
    for split in ("train", "eval"):
        copy = Path(examples.uri, f"Split-{split}", "examples-00000-of-00001.tfrecord")
        assert copy.read_bytes() == (data / "span-2" / f"{split}-00000-of-00001.tfrecord").read_bytes()


def test_the_artifact_says_what_the_stages_after_it_ask(tmp_path, data):
    examples = execute(write_window(str(data), [1, 2]), tmp_path)
    assert examples.split_names == '["train", "eval"]'
    # StatisticsGen and Transform refuse examples whose payload format is not declared.
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert examples.get_int_custom_property("span") == 2


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_shard_that_is_not_what_the_manifest_lists_is_refused_by_name(tmp_path, data, damage):
    window = write_window(str(data), [1])
    damage(data / "span-1" / "eval-00000-of-00001.tfrecord")
    with pytest.raises(SegpipeError, match="span-1/eval-00000-of-00001.tfrecord: is not the file"):
        execute(window, tmp_path)


def test_a_span_that_was_replaced_after_planning_is_refused(tmp_path, data):
    window = write_window(str(data), [1])
    os.replace(data / "span-2" / "manifest.json", data / "span-1" / "manifest.json")
    with pytest.raises(UsageError, match="span-1/manifest.json: is gone or changed"):
        execute(window, tmp_path)
