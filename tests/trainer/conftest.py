"""One transform graph and one exported model for all tests of the trainer: they take seconds to make."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow_transform as tft
from trainer_helpers import SPEC, Transformed, draw_mask, draw_photo, encode, transform

from trainer.model import build_model
from trainer.settings import ModelSettings
from trainer.signatures import export


@pytest.fixture(scope="session")
def transformed(tmp_path_factory) -> Transformed:
    """Seven photos of different sizes, larger and smaller than the model's input, through Transform."""
    rng = np.random.default_rng(1)
    masks = [draw_mask(rng, h, w, [1, 2, 3, 4, 255]) for h, w in _SIZES]
    photos = [encode(draw_photo(rng, mask), "JPEG") for mask in masks]
    return transform(str(tmp_path_factory.mktemp("transformed")), photos, [encode(mask) for mask in masks], SPEC)


_SIZES = [(32, 48), (64, 96), (75, 101), (100, 60), (47, 130), (20, 30), (33, 49)]


@dataclass(frozen=True)
class Exported:
    """A net, and the folder it was exported to."""

    model: keras.Model
    folder: str


@pytest.fixture(scope="session")
def exported(transformed, tmp_path_factory) -> Exported:
    """A small net whose every variable differs from its default, so that one that is not exported would show."""
    keras.utils.set_random_seed(4)
    model = build_model(ModelSettings(filters=4), SPEC.height, SPEC.width, SPEC.num_classes)
    rng = np.random.default_rng(2)
    for variable in model.weights:
        scale = rng.uniform(0.7, 1.4, variable.shape)
        variable.assign(
            variable.numpy() * scale + (0 if "kernel" in variable.name else rng.normal(0, 0.1, scale.shape))
        )
    folder = str(tmp_path_factory.mktemp("exported"))
    export(model, tft.TFTransformOutput(transformed.graph), SPEC, folder, {"steps": 3, "seed": 4})
    return Exported(model, folder)
