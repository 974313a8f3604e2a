"""`run_fn` as TFX calls it: records in, a model and its learning curve out."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs
from trainer_helpers import SPEC

from trainer.batches import held_out_records
from trainer.features import DESCRIPTION
from trainer.settings import ModelSettings, TrainingSettings
from trainer.train import CURVE, run_fn


def fn_args(transformed, folder, model: dict | None = None, eval_files: str | None = None, **training) -> FnArgs:
    return FnArgs(
        train_files=[transformed.pattern],
        eval_files=[eval_files or transformed.pattern],
        transform_output=transformed.graph,
        serving_model_dir=str(folder / "serving"),
        model_run_dir=str(folder / "run"),
        custom_config={
            "checkpoints": str(folder / "checkpoints"),
            "feature_spec": SPEC.model_dump_json(),
            "model": ModelSettings(**model or {"filters": 4}).model_dump_json(),
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
        "model": ModelSettings(filters=4).model_dump(),
        "parameters": facts["parameters"],
        "steps": 1,
        "photos": 7,
        "seed": 17,
        "mixed_precision": False,
        "class_weights": None,
        "base_model": None,
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


def test_early_stopping_measures_training_photos_and_never_the_evaluation_split(transformed, tmp_path):
    stopping = {"patience": 1, "share": 0.4}
    # There is no evaluation split to look at; a rate of next to nothing brings no new best.
    run_fn(
        fn_args(
            transformed, tmp_path, eval_files="nowhere*", steps=8, batch_size=2, learning_rate=1e-12,
            early_stopping=stopping, class_weights="balanced",
        )
    )  # fmt: skip
    facts = json.loads((tmp_path / "run" / CURVE).read_text())
    record = facts["early_stopping"]
    assert record["held_out_records"] == held_out_records([transformed.pattern], 0.4)
    assert facts["photos"] + record["held_out_photos"] == 7
    assert facts["steps"] == record["stopped_at"] == facts["curve"][-1]["step"] < record["budget"] == 8
    assert "no new best in 1 evaluations" in record["reason"]
    # Contour is the rarest of the drawn masks' classes, since two mask values mean pet.
    weights = facts["class_weights"]
    assert weights["pet"] < min(weights["background"], weights["contour"])


@pytest.mark.parametrize(
    ("share", "batch_size", "message"),
    [
        (1e-4, 2, "share 0.0001 holds out none of 7 training photos; raise the share"),
        (0.4, 7, r"holds \d photos beside \d held out for early stopping, fewer than training.batch_size 7"),
    ],
)
def test_a_split_too_small_for_early_stopping_is_refused(transformed, tmp_path, share, batch_size, message):
    with pytest.raises(ValueError, match=message):
        run_fn(fn_args(transformed, tmp_path, steps=1, batch_size=batch_size, early_stopping={"share": share}))


@pytest.fixture(scope="module")
def finetuned(transformed, tmp_path_factory):
    """A folder with the backbone's weights, which this test makes itself, and the model trained from them."""
    folder = tmp_path_factory.mktemp("finetuned")
    keras.utils.set_random_seed(3)
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    backbone.save_weights(folder / "own.weights.h5")
    model = {"name": "encoder", "filters": 4, "weights": str(folder / "own.weights.h5"), "freeze": True}
    run_fn(fn_args(transformed, folder, model, steps=2, batch_size=3, evaluations=1))
    return folder, backbone


def test_a_pretrained_encoder_trains_and_its_weights_arrive_in_the_export(finetuned):
    folder, backbone = finetuned
    exported = tf.train.load_checkpoint(str(folder / "serving" / "variables" / "variables"))
    shapes = exported.get_variable_to_shape_map()
    for layer in ("Conv1", "block_16_project"):
        (kernel,) = backbone.get_layer(layer).get_weights()
        # No other variable has these shapes; the average of one number with itself is that number but for rounding.
        found = [exported.get_tensor(name) for name, shape in shapes.items() if shape == list(kernel.shape)]
        assert found
        for weights in found:
            np.testing.assert_allclose(weights, kernel, rtol=1e-6)


def test_both_loaders_answer_alike_for_an_encoder(finetuned, transformed):
    folder, _ = finetuned
    photos = transformed.photos[:2]
    served = str(folder / "serving")
    one = tf.saved_model.load(served).signatures["serving_default"](image_bytes=tf.constant(photos))
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], served).signature_def["serving_default"]
        fetches = {name: info.name for name, info in signature.outputs.items()}
        other = session.run(fetches, {signature.inputs["image_bytes"].name: photos})
    np.testing.assert_allclose(other["probabilities"], one["probabilities"], atol=1e-5)
    assert one["mask"].shape == (2, SPEC.height, SPEC.width)


def test_weights_of_another_backbone_are_refused_in_one_sentence(finetuned, transformed, tmp_path):
    folder, _ = finetuned
    model = {"name": "encoder", "backbone": "EfficientNetV2B0", "weights": str(folder / "own.weights.h5")}
    with pytest.raises(ValueError, match="own.weights.h5 does not load into EfficientNetV2B0 .*; name a file") as found:
        run_fn(fn_args(transformed, tmp_path, model, steps=1, batch_size=3))
    assert "\n" not in str(found.value)
