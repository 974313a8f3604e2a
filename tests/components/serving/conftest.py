"""Real exported models: one whose answers are known by hand, and a small net with all signatures."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from drawing import write_brightness_model
from served import VERSION, served
from trainer_helpers import SPEC, draw_mask, draw_photo, encode, transform

from trainer.features import ClassSpec, FeatureSpec
from trainer.model import build_model
from trainer.settings import ModelSettings
from trainer.signatures import export


@pytest.fixture(scope="session")
def bright() -> FeatureSpec:
    """Three classes, dark to bright, with mask values of a user's own."""
    return FeatureSpec(
        classes=(
            ClassSpec(name="night", values=(7,), colour="#102030"),
            ClassSpec(name="dusk", values=(40, 41), colour="#ff8000"),
            ClassSpec(name="day", values=(200,), colour="#20c040"),
        ),
        background="night",
        height=32,
        width=48,
    )


@pytest.fixture(scope="session")
def brightness(tmp_path_factory, bright) -> Path:
    return write_brightness_model(tmp_path_factory.mktemp("brightness") / "model", bright)


@pytest.fixture
def folder(tmp_path, brightness) -> Path:
    """A serving folder with one version, 1."""
    shutil.copytree(brightness, tmp_path / "serving_model" / "1")
    return tmp_path / "serving_model"


@pytest.fixture(scope="session")
def net_folder(tmp_path_factory) -> Path:
    """A serving folder with a small net, exported as the Trainer does it."""
    folder = tmp_path_factory.mktemp("net")
    rng = np.random.default_rng(1)
    masks = [draw_mask(rng, 40, 56, [1, 2, 3]) for _ in range(2)]
    photos = [encode(draw_photo(rng, mask), "JPEG") for mask in masks]
    made = transform(str(folder / "transformed"), photos, [encode(mask) for mask in masks], SPEC)
    keras.utils.set_random_seed(4)
    model = build_model(ModelSettings(filters=4), SPEC.height, SPEC.width, SPEC.num_classes)
    export(model, tft.TFTransformOutput(made.graph), SPEC, str(folder / "serving" / str(VERSION)), {"run_id": "drawn"})
    return folder / "serving"


@pytest.fixture(scope="session")
def signatures(net_folder):
    """The same model without a server."""
    loaded = tf.saved_model.load(str(net_folder / str(VERSION)))
    # Signatures hold the model weakly.
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="session")
def net_url(net_folder):
    """A server of it, for tests that only ask."""
    with served(net_folder) as url:
        yield url
