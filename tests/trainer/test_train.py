"""`run_fn` as TFX calls it: records in, a model and its learning curve out."""

import json
import os

import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs
from trainer_helpers import SPEC

from trainer.features import DESCRIPTION
from trainer.settings import ModelSettings, TrainingSettings
from trainer.train import CURVE, run_fn


def fn_args(transformed, folder, **training) -> FnArgs:
    return FnArgs(
        train_files=[transformed.pattern],
        eval_files=[transformed.pattern],
        transform_output=transformed.graph,
        serving_model_dir=str(folder / "serving"),
        model_run_dir=str(folder / "run"),
        custom_config={
            "feature_spec": SPEC.model_dump_json(),
            "model": ModelSettings(filters=4).model_dump_json(),
            "training": TrainingSettings(**training).model_dump_json(),
        },
    )


@pytest.fixture(scope="module")
def folder(transformed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    # Too little time for one step: the budget in minutes becomes the one step that there always is.
    run_fn(fn_args(transformed, folder, minutes=1e-6, batch_size=3))
    return folder


def test_the_curve_tells_what_was_trained(folder):
    facts = json.loads((folder / "run" / CURVE).read_text())
    (point,) = facts.pop("curve")
    assert facts == {
        "model": {"name": "residual", "filters": 4, "dropout": None, "flip_average": False},
        "parameters": facts["parameters"],
        "steps": 1,
        "photos": 7,
        "seed": 17,
    }
    assert point["step"] == 1 and point["loss"] > 0 and 0 <= point["mean_iou"] <= 1


def test_the_exported_model_answers_and_knows_its_making(folder, transformed):
    facts = json.loads((folder / "run" / CURVE).read_text())
    facts.pop("curve")
    description = json.loads((folder / "serving" / DESCRIPTION).read_text())
    colours = dict(zip(SPEC.class_names, SPEC.colours, strict=True))
    assert description == facts | {"feature_spec": SPEC.model_dump(mode="json"), "colours": colours}
    loaded = tf.saved_model.load(str(folder / "serving"))
    mask = loaded.signatures["serving_default"](image_bytes=tf.constant(transformed.photos))["mask"]
    assert mask.shape == (7, SPEC.height, SPEC.width)


def test_tensorboard_finds_the_curve(folder):
    (events,) = [name for name in os.listdir(folder / "run") if "tfevents" in name]
    tags = set()
    for record in tf.data.TFRecordDataset(str(folder / "run" / events)):
        tags |= {value.tag for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value}
    assert tags == {"loss", "learning_rate", "mean_iou", "pixel_accuracy"}


def test_fewer_photos_than_a_batch_are_refused_with_the_mend(transformed, tmp_path):
    with pytest.raises(ValueError, match=r"holds 7 photos, fewer than training.batch_size 8; lower the batch size"):
        run_fn(fn_args(transformed, tmp_path, steps=1, batch_size=8))
    assert not os.path.exists(tmp_path / "serving")
