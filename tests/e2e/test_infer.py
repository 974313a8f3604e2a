"""Batch inference with the live model: on a span and on a folder, again, and after nothing but the masks matter."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from workbench import Bench, drawn

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("infer"))
    bench.ingest(drawn(bench.folder / "drawn"))
    bench.run()
    return bench


def infer(bench: Bench, *arguments, status: int = 0):
    return bench.segpipe("infer", *arguments, "--config", bench.config, status=status)


def read_masks(folder: Path) -> dict[str, tf.Tensor]:
    """As a client reads them: file name -> class ids."""
    masks = {}
    for record in tf.data.TFRecordDataset(sorted(map(str, folder.glob("masks-*.tfrecord")))):
        features = tf.train.Example.FromString(record.numpy()).features.feature
        name = features["filename"].bytes_list.value[0].decode()
        masks[name] = tf.io.decode_png(features["mask_png"].bytes_list.value[0])[..., 0]
    return masks


def test_a_span_gets_masks_that_are_those_of_the_live_model(bench):
    done = infer(bench, "--span", "1", "--output", bench.folder / "span")
    (version,) = bench.versions()
    assert f"wrote 32 masks of model version {version}" in done.stdout
    assert "32 photos found = 32 masks + 0 skipped" in done.stdout
    masks = read_masks(bench.folder / "span")
    photos = {path.name: path.read_bytes() for path in (bench.folder / "drawn" / "images").iterdir()}
    assert masks.keys() == photos.keys()
    model = tf.saved_model.load(str(bench.serving / version))
    for name in list(photos)[:4]:
        asked = model.signatures["serving_default"](image_bytes=tf.constant([photos[name]]))["mask"][0]
        assert tf.reduce_mean(tf.cast(asked == masks[name], tf.float32)) > 0.99

    manifest = json.loads((bench.folder / "span" / "manifest.json").read_text())
    (trained,) = bench.status()["runs"]
    assert (manifest["model_version"], manifest["run_id"]) == (int(version), trained["run_id"])
    assert trained["verdict"] == "pushed", "an inference run is no training run"


def test_the_same_again_is_nothing_new_in_any_folder(bench):
    infer(bench, "--span", "1", "--output", bench.folder / "first")
    done = infer(bench, "--span", "1", "--output", bench.folder / "second")
    assert "nothing new; 32 masks" in done.stdout
    first, second = (sorted((bench.folder / name).iterdir()) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_broken_photo_in_a_folder_is_named_and_the_others_get_masks(bench):
    photos = bench.folder / "photos"
    photos.mkdir()
    for path in sorted((bench.folder / "drawn" / "images").iterdir())[:3]:
        shutil.copy(path, photos / path.name)
    (photos / "broken.jpg").write_bytes(b"no photo")
    done = infer(bench, "--images", photos, "--output", bench.folder / "folder", status=1)
    assert "broken.jpg: undecodable_photo" in done.stderr
    assert "4 photos found = 3 masks + 1 skipped" in done.stdout
    assert len(read_masks(bench.folder / "folder")) == 3
    manifest = json.loads((bench.folder / "folder" / "manifest.json").read_text())
    assert list(manifest["skipped"]) == ["broken.jpg"] and manifest["source"] == str(photos)
