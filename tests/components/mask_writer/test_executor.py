"""MaskWriter: one record a photo, sorted and small; a photo without a mask, or with two, stops it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from drawing import encoded
from tfx.types import standard_artifacts

from components.errors import SegpipeError
from components.ingest.examples import to_example
from components.ingest.spans import write_record
from components.mask_writer import executor
from components.mask_writer.component import MaskRecords
from components.mask_writer.executor import Executor
from components.photo_example_gen.executor import Skipped
from trainer.features import DESCRIPTION, FeatureSpec

MASK = encoded(np.zeros([4, 6], np.uint8), "PNG")


def examples(folder: Path, splits: dict[str, list[str]], gzip: bool, **more: bytes) -> standard_artifacts.Examples:
    """Examples of some photos, a list of names a split."""
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(folder), json.dumps(sorted(splits))
    for split, names in splits.items():
        path = folder / f"Split-{split}" / ("examples-00000-of-00001" + (".gz" if gzip else ".tfrecord"))
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), "GZIP" if gzip else "") as writer:
            for index, name in enumerate(names):
                values = {"filename": name.encode(), "height": 40 + index, "width": 56, "image": b"x" * 5000}
                writer.write(to_example(values | more).SerializeToString())
    return artifact


def execute(folder: Path, asked: dict, answered: dict, skipped: dict | None = None) -> Path:
    """Runs the executor; returns the folder of masks."""
    model, masks = standard_artifacts.Model(), MaskRecords()
    model.uri, masks.uri = str(folder / "model"), str(folder / "masks")
    description = Path(model.uri, "Format-Serving", DESCRIPTION)
    description.parent.mkdir(parents=True)
    description.write_text(json.dumps({"feature_spec": FeatureSpec().model_dump(mode="json"), "run_id": "run-7"}))
    inputs = {
        "examples": [examples(folder / "asked", asked, gzip=False)],
        "predictions": [examples(folder / "answered", answered, gzip=True, mask_png=MASK)],
        "model": [model],
    }
    if skipped is not None:
        write_record(str(folder / "asked" / "skipped.json"), Skipped(photos=skipped))
    Executor().Do(inputs, {"masks": [masks]}, {"source": "span 3", "model_version": "17", "fingerprint": "x"})
    return Path(masks.uri)


def records(shard: Path) -> list[dict]:
    parsed = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(shard))]
    return [
        {key: (f.bytes_list.value or f.int64_list.value)[0] for key, f in example.features.feature.items()}
        for example in parsed
    ]


def test_each_photo_of_every_split_has_one_record_in_the_order_of_names(tmp_path):
    splits = {"train": ["c.jpg", "a.jpg"], "eval": ["b.jpg"]}
    folder = execute(tmp_path, splits, splits)
    found = records(folder / "masks-00000-of-00001.tfrecord")
    assert found == [
        {"filename": name, "height": height, "width": 56, "mask_png": MASK}
        for name, height in ((b"a.jpg", 41), (b"b.jpg", 40), (b"c.jpg", 40))
    ]


def test_the_manifest_counts_and_says_where_the_masks_come_from(tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "_RECORDS_PER_SHARD", 2)
    photos = {"photos": ["a.jpg", "b.jpg", "c.jpg"]}
    folder = execute(tmp_path, photos, photos, {"d.jpg": "empty_photo: zero bytes"})
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [(s["name"], s["examples"]) for s in manifest["shards"]] == [
        ("masks-00000-of-00002.tfrecord", 2),
        ("masks-00001-of-00002.tfrecord", 1),
    ]
    assert [os.path.getsize(folder / s["name"]) for s in manifest["shards"]] == [s["bytes"] for s in manifest["shards"]]
    assert (manifest["source"], manifest["model_version"], manifest["run_id"]) == ("span 3", 17, "run-7")
    assert manifest["classes"] == ["pet", "background", "contour"]
    assert (manifest["photos_found"], manifest["skipped"]) == (4, {"d.jpg": "empty_photo: zero bytes"})


@pytest.mark.parametrize(
    "answered, problem",
    [
        (["a.jpg"], "2 photos went into batch inference and 1 masks came out .*b.jpg"),
        (["a.jpg", "b.jpg", "b.jpg"], "2 photos .* 3 masks came out .*b.jpg"),
        (["a.jpg", "c.jpg"], "2 photos .* 2 masks came out .*b.jpg"),
    ],
    ids=["one is lost", "one is doubled", "one is another's"],
)
def test_masks_that_are_not_those_of_the_photos_are_refused(tmp_path, answered, problem):
    with pytest.raises(SegpipeError, match=problem):
        execute(tmp_path, {"eval": ["a.jpg", "b.jpg"]}, {"eval": answered})
    assert not (tmp_path / "masks" / "manifest.json").exists()
