"""A real exported model whose answers are known: it tells classes apart by brightness."""

import pytest
from drawing import write_brightness_model

from components.inference.served_model import ServedModel
from trainer.features import ClassSpec, FeatureSpec


@pytest.fixture(scope="session")
def spec() -> FeatureSpec:
    """Three classes, dark to bright, with mask values of a user's own; the middle one is written as two values."""
    return FeatureSpec(
        classes=(
            ClassSpec(name="night", values=(7,), colour="#102030"),
            ClassSpec(name="dusk", values=(40, 41), colour="#ff8000"),
            ClassSpec(name="day", values=(200,)),
        ),
        ignore_values=(255,),
        background="night",
        height=32,
        width=48,
    )


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, spec):
    return write_brightness_model(tmp_path_factory.mktemp("serving_model") / "1", spec)


@pytest.fixture(scope="session")
def model(model_folder) -> ServedModel:
    return ServedModel(str(model_folder))
