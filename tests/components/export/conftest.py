"""Small nets exported as the Trainer exports them, and photos with masks to compare on."""

import keras
import numpy as np
import pytest
import tensorflow_transform as tft
from trainer_helpers import SPEC, draw_mask, draw_photo, encode, transform

from components.inference.served_model import ServedModel
from trainer.model import build_model
from trainer.settings import ModelSettings
from trainer.signatures import export


@pytest.fixture(scope="session")
def pairs() -> list[tuple[bytes, bytes]]:
    """JPEG and mask of photos that are larger and smaller than the model's input."""
    rng = np.random.default_rng(5)
    masks = [draw_mask(rng, h, w, [1, 2, 3, 255], block=9) for h, w in [(32, 48), (75, 101), (210, 330), (20, 30)]]
    return [(encode(draw_photo(rng, mask), "JPEG"), encode(mask)) for mask in masks]


@pytest.fixture(scope="session")
def graph(pairs, tmp_path_factory) -> str:
    photos, masks = zip(*pairs, strict=True)
    return transform(str(tmp_path_factory.mktemp("graph")), list(photos), list(masks), SPEC).graph


@pytest.fixture(scope="session")
def make_model(graph, tmp_path_factory):
    """Name of a net -> a SavedModel of it, with flip averaging; its answers differ from pixel to pixel."""

    def make(name: str, **options) -> ServedModel:
        keras.utils.set_random_seed(4)
        net = build_model(ModelSettings(name=name, filters=4, **options), SPEC.height, SPEC.width, SPEC.num_classes)
        rng = np.random.default_rng(2)
        for variable in net.weights:
            noise = rng.normal(0, 0.1, variable.shape) if "kernel" not in variable.name else 0
            variable.assign(variable.numpy() * rng.uniform(0.7, 1.4, variable.shape) + noise)
        folder = tmp_path_factory.mktemp("serving_model") / "17"
        export(net, tft.TFTransformOutput(graph), SPEC, str(folder), {"steps": 3}, flip_average=True)
        return ServedModel(str(folder))

    return make


@pytest.fixture(scope="session")
def model(make_model) -> ServedModel:
    return make_model("residual")
