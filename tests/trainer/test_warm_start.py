"""A warm start: the weights of an exported model, if it is of the same form; else from scratch, and why."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import SPEC

from trainer.features import DESCRIPTION, ClassSpec
from trainer.loop import Learner
from trainer.settings import ModelSettings, TrainingSettings
from trainer.warm_start import start_warm

TRAINING = TrainingSettings(steps=2, batch_size=2, evaluations=1)


def learner(spec=SPEC, **model) -> Learner:
    return Learner(spec, ModelSettings(**({"filters": 4} | model)), TRAINING)


def weights(net) -> np.ndarray:
    return np.concatenate([weight.numpy().ravel() for weight in net.weights])


def notes(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "note", False)]


@pytest.fixture(autouse=True)
def _logged(caplog):
    with caplog.at_level("INFO", logger="absl"):
        yield


def test_both_nets_start_as_the_exported_one(exported, caplog):
    warm = learner()
    seeds = [v.numpy() for v in warm.model.variables if v.dtype != "float32"]
    assert start_warm(warm, SPEC, exported.folder) == exported.folder
    pixels = tf.random.stateless_normal([2, SPEC.height, SPEC.width, 3], [1, 2])
    for net in (warm.model, warm.averaged):
        np.testing.assert_array_equal(weights(net), weights(exported.model))
        np.testing.assert_allclose(net(pixels, training=False), exported.model(pixels, training=False), atol=1e-5)
    # Dropout draws by the seed of this training and not where the other left off.
    assert seeds
    np.testing.assert_array_equal([v.numpy() for v in warm.model.variables if v.dtype != "float32"], seeds)
    assert notes(caplog) == [f"starts from the blessed model {exported.folder}"]


def test_without_a_base_model_it_says_that_it_trains_from_scratch(caplog):
    cold = learner()
    before = weights(cold.model)
    assert start_warm(cold, SPEC, None) is None
    np.testing.assert_array_equal(weights(cold.model), before)
    assert notes(caplog) == ["no blessed model to start from: trains from scratch"]


PET, BACKGROUND, CONTOUR = SPEC.classes


@pytest.mark.parametrize(
    ("spec", "model", "reason"),
    [
        ({"classes": (BACKGROUND, PET, CONTOUR)}, {}, "it knows the classes ['pet', 'background', 'contour'], not"),
        ({"classes": (PET, BACKGROUND)}, {}, "not ['pet', 'background']"),
        ({"classes": (PET, BACKGROUND, ClassSpec(name="tail", values=(3,)))}, {}, "'tail']"),
        ({"height": 64}, {}, "it takes 32x48 pixels, not 64x48"),
        ({}, {"filters": 8}, "it is another net"),
        ({}, {"name": "unet"}, "it is another net"),
    ],
)
def test_a_model_of_another_form_is_left_alone_and_the_reason_said(exported, caplog, spec, model, reason):
    changed = SPEC.model_copy(update=spec)
    cold = learner(changed, **model)
    before = weights(cold.averaged)
    assert start_warm(cold, changed, exported.folder) is None
    np.testing.assert_array_equal(weights(cold.averaged), before)
    (said,) = notes(caplog)
    assert said.startswith(f"the blessed model {exported.folder} is no start for this training, since ")
    assert reason in said and said.endswith(": trains from scratch")


@pytest.mark.parametrize("missing", [DESCRIPTION, "variables/variables.index", "."])
def test_a_model_whose_files_are_gone_is_no_reason_to_fail(exported, tmp_path, caplog, missing):
    folder = tmp_path / "model"
    shutil.copytree(exported.folder, folder)
    if missing == ".":
        shutil.rmtree(folder)
    else:
        (folder / missing).unlink()
    assert start_warm(learner(), SPEC, str(folder)) is None
    (said,) = notes(caplog)
    assert "it cannot be read (" in said


def test_a_model_may_map_other_mask_values_to_the_same_classes(exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported.folder, folder)
    description = json.loads((folder / DESCRIPTION).read_text())
    description["feature_spec"]["classes"][0]["values"] = [77]
    (folder / DESCRIPTION).write_text(json.dumps(description))
    assert start_warm(learner(), SPEC, str(folder)) == str(folder)
