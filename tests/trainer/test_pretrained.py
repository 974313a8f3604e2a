"""Pretrained backbones: their weights are looked for before anything starts, and their pixels are what they expect."""

import functools
import http.server
import os
import threading
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from trainer import pretrained
from trainer.features import FeatureSpec
from trainer.model import build_model
from trainer.pretrained import BACKBONES, check_weights, weights_digest
from trainer.settings import ModelSettings

IMAGENET = ModelSettings(name="encoder")
HDF5 = b"\x89HDF\r\n\x1a\n"


def from_file(path) -> ModelSettings:
    return ModelSettings(name="encoder", weights=str(path))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


def downloads_from(monkeypatch, url: str) -> None:
    backbone = replace(BACKBONES["MobileNetV2"], url=f"{url}/weights_no_top.h5")
    monkeypatch.setitem(pretrained.BACKBONES, "MobileNetV2", backbone)


def test_without_network_imagenet_is_refused_at_once_and_the_option_named(empty_cache, monkeypatch):
    # No such host anywhere: RFC 2606 keeps the name free.
    downloads_from(monkeypatch, "http://weights.invalid")
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"^model.weights: imagenet cannot be had from http.*; name a local .h5 file"):
        check_weights(IMAGENET)
    assert time.monotonic() - start < 30


def test_weights_in_keras_cache_need_no_network(empty_cache, monkeypatch):
    downloads_from(monkeypatch, "http://weights.invalid")
    (empty_cache / "models").mkdir()
    (empty_cache / "models" / "weights_no_top.h5").touch()
    check_weights(IMAGENET)


def test_weights_that_can_be_downloaded_are_only_looked_for(empty_cache, monkeypatch):
    (empty_cache / "weights_no_top.h5").touch()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(empty_cache))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        downloads_from(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        check_weights(IMAGENET)
        downloads_from(monkeypatch, f"http://127.0.0.1:{server.server_port}/gone")
        with pytest.raises(ValueError, match="imagenet cannot be had .*File not found"):
            check_weights(IMAGENET)
        server.shutdown()
    assert not (empty_cache / "models").exists()


@pytest.mark.parametrize("settings", [ModelSettings(), ModelSettings(name="encoder", weights="none")], ids=str)
def test_nets_without_pretrained_weights_are_never_held_up(empty_cache, monkeypatch, settings):
    downloads_from(monkeypatch, "http://weights.invalid")
    check_weights(settings)
    assert weights_digest(settings) == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.h5", None, "gone.h5: No such file or directory; name a file, imagenet or none"),
        ("text.h5", b"weights", "text.h5 is no .h5 file of weights"),
        ("empty.h5", b"", "empty.h5 is no .h5 file of weights"),
        ("weights.keras", HDF5, "weights.keras is no .h5 file of weights"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_by_name(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^model.weights: .*{message}"):
        check_weights(from_file(tmp_path / name))


def test_other_weights_under_the_same_name_have_another_digest(tmp_path):
    path = tmp_path / "own.h5"
    digests = []
    for content in (HDF5 + b"a", HDF5 + b"b", HDF5 + b"a"):
        path.write_bytes(content)
        check_weights(from_file(path))
        digests.append(weights_digest(from_file(path)))
    assert digests[0] == digests[2] != digests[1]


OTHER_CONSTANTS = FeatureSpec(pixel_mean=(0.5, 0.4, 0.3), pixel_std=(0.25, 0.5, 0.2))
PREPROCESS = {
    "MobileNetV2": keras.applications.mobilenet_v2.preprocess_input,
    "EfficientNetV2B0": keras.applications.efficientnet_v2.preprocess_input,
}


@pytest.fixture(scope="module", params=BACKBONES)
def whole_backbone(request, tmp_path_factory):
    """A backbone as Keras builds it, with weights of its own, and their file."""
    keras.utils.set_random_seed(1)
    build = getattr(keras.applications, request.param)
    backbone = build(include_top=False, weights=None, input_shape=(48, 80, 3))
    path = os.path.join(tmp_path_factory.mktemp("weights"), f"{request.param}.weights.h5")
    backbone.save_weights(path)
    return request.param, backbone, path


@pytest.fixture(scope="module")
def encoder(whole_backbone):
    name, _, path = whole_backbone
    settings = ModelSettings(name="encoder", backbone=name, weights=path, filters=4)
    keras.utils.set_random_seed(2)
    return build_model(settings, 48, 80, 3, OTHER_CONSTANTS.pixel_mean, OTHER_CONSTANTS.pixel_std)


def test_the_backbone_sees_the_pixels_it_was_trained_on_whatever_normalised_them(whole_backbone, encoder):
    name, backbone, _ = whole_backbone
    photo = np.random.default_rng(0).integers(0, 256, [1, 48, 80, 3]).astype(np.float32)
    normalised = (photo / 255 - OTHER_CONSTANTS.pixel_mean) / OTHER_CONSTANTS.pixel_std
    skips = BACKBONES[name].skips
    own = keras.Model(backbone.input, [backbone.get_layer(skip).output for skip in skips])
    here = keras.Model(encoder.input, [encoder.get_layer(skip).output for skip in skips])
    expected = own(PREPROCESS[name](photo.copy()))
    for level, (mine, theirs) in enumerate(zip(here(normalised.astype(np.float32)), expected, strict=True), start=1):
        # 48 / 32 is rounded up, as a stride of 2 rounds.
        assert mine.shape[1:3] == (-(-48 // 2**level), -(-80 // 2**level))
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5 * float(np.abs(theirs).max()))


def test_an_encoder_gives_logits_for_every_pixel_of_sizes_that_do_not_halve_five_times(encoder):
    assert encoder.output_shape == (None, 48, 80, 3)
    logits = encoder(np.zeros([2, 48, 80, 3], np.float32))
    assert logits.shape == (2, 48, 80, 3) and np.isfinite(logits).all()


@pytest.mark.parametrize("freeze", [False, True])
def test_a_frozen_backbone_leaves_only_the_decoder_to_train(freeze):
    model = build_model(ModelSettings(name="encoder", weights="none", freeze=freeze, filters=4), 32, 32, 3)
    backbone = model.get_layer("block_3_expand_BN")
    assert bool(backbone.trainable_weights) == (not freeze)
    assert model.get_layer("head").trainable_weights
