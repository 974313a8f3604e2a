"""Early stopping: what a curve decides, which photos it is measured on, and what is exported."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import SPEC

from trainer.batches import evaluation_batches, held_out_records, training_batches
from trainer.features import ClassSpec, FeatureSpec
from trainer.loop import Learner
from trainer.settings import EarlyStopping, ModelSettings, TrainingSettings
from trainer.stopping import best_point, out_of_patience, stopping_record

NAN = math.nan
SHARE = 0.4


def curve_of(*scores: float) -> list[dict]:
    return [{"step": 10 * (number + 1), "mean_iou": score} for number, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "best", "stops_with_patience"),
    [
        ((0.1,), 0, []),
        ((0.1, 0.2, 0.3), 2, []),
        ((0.3, 0.2), 0, [1]),
        ((0.3, 0.2, 0.25), 0, [1, 2]),
        ((0.3, 0.2, 0.4), 2, []),
        # Equal is no new best.
        ((0.3, 0.3), 0, [1]),
        ((NAN, 0.1), 1, []),
        ((0.1, NAN, NAN), 0, [1, 2]),
        ((NAN, NAN), 0, [1]),
    ],
)
def test_a_curve_decides_what_is_best_and_when_to_stop(scores, best, stops_with_patience):
    curve = curve_of(*scores)
    assert best_point(curve) == best
    stops = [patience for patience in (1, 2, 3) if out_of_patience(curve, EarlyStopping(patience=patience))]
    assert stops == stops_with_patience


@pytest.mark.parametrize(("budget", "reason"), [(30, "the budget was used up"), (31, "no new best in 2 evaluations")])
def test_the_record_says_where_it_stopped_and_why(budget, reason):
    record = stopping_record(curve_of(0.3, 0.2, 0.1), budget, EarlyStopping(patience=2, share=0.2), [3, 8])
    assert reason in record.pop("reason")
    assert record == {
        "patience": 2,
        "share": 0.2,
        "budget": budget,
        "stopped_at": 30,
        "exported_step": 10,
        "held_out_photos": 2,
        "held_out_records": [3, 8],
    }


def photos(dataset) -> list[bytes]:
    return [photo.tobytes() for pixels, _ in dataset for photo in np.asarray(pixels)]


def test_held_out_photos_never_train_and_all_others_do(transformed):
    everything = photos(evaluation_batches([transformed.pattern], SPEC, 7))
    records = held_out_records([transformed.pattern], SHARE)
    held_out = photos(evaluation_batches([transformed.pattern], SPEC, 7, SHARE))
    assert held_out == [everything[record] for record in records]
    assert 0 < len(records) < 7
    settings = TrainingSettings(
        steps=1, batch_size=1, augment={"enabled": False}, early_stopping=EarlyStopping(share=SHARE)
    )
    trains = 7 - len(records)
    batches = training_batches([transformed.pattern], trains, SPEC, settings)
    assert set(photos(itertools.islice(batches, 3 * trains))) == set(everything) - set(held_out)


def test_a_photo_is_held_out_whatever_files_it_lies_in(transformed, tmp_path):
    (path,) = tf.io.gfile.glob(transformed.pattern)
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    for name, part in (("a", records[4:]), ("b", records[:4][::-1])):
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord")) as writer:
            for record in part:
                writer.write(record)
    one = photos(evaluation_batches([transformed.pattern], SPEC, 7, SHARE))
    other = photos(evaluation_batches([str(tmp_path / "*.tfrecord")], SPEC, 7, SHARE))
    assert sorted(one) == sorted(other) and len(one) > 0


def test_a_larger_share_holds_out_what_a_smaller_one_did_and_more(transformed):
    held_out = [set(held_out_records([transformed.pattern], share)) for share in (0.1, 0.4, 0.5)]
    assert held_out[0] <= held_out[1] <= held_out[2]


TWO_CLASSES = FeatureSpec(
    classes=(ClassSpec(name="pet", values=(1,)), ClassSpec(name="background", values=(2,))), height=32, width=32
)


def easy_batches(turned_after: int | None = None):
    """Red is pet, the rest background; from some step on the labels say the opposite."""
    rng = np.random.default_rng(0)
    for step in itertools.count():
        labels = rng.integers(0, 2, [4, 4, 4]).repeat(8, 1).repeat(8, 2).astype(np.uint8)
        pixels = rng.normal(0, 0.1, [4, 32, 32, 3]) + np.where(labels[..., np.newaxis] == 0, [1, -1, 0], [-1, 1, 0])
        turned = turned_after is not None and step >= turned_after
        yield tf.constant(pixels, tf.float32), tf.constant(1 - labels if turned else labels)


def fitted(steps: int, **changes) -> tuple[Learner, list[dict], tf.data.Dataset]:
    settings = {"steps": steps, "batch_size": 4, "ema_decay": 0.5, "learning_rate": 3e-2, "warmup_share": 0.0}
    learner = Learner(TWO_CLASSES, ModelSettings(filters=4), TrainingSettings(**settings | changes))
    held_out = tf.data.Dataset.from_tensors(next(easy_batches()))
    return learner, learner.fit(steps, easy_batches(turned_after=20), held_out, lambda step, point: None), held_out


@pytest.fixture(scope="module")
def stopped():
    return fitted(60, evaluations=12, early_stopping=EarlyStopping(patience=2))


def test_training_stops_when_the_held_out_photos_gain_no_more(stopped):
    _, curve, _ = stopped
    best = best_point(curve)
    assert len(curve) == best + 3 < 12
    # Guessing scores a third.
    assert curve[best]["mean_iou"] > max(0.5, curve[-1]["mean_iou"])


def test_the_best_averaged_weights_are_exported_not_the_last(stopped):
    learner, curve, held_out = stopped
    best = curve[best_point(curve)]
    assert learner.evaluate(held_out)["mean_iou"] == best["mean_iou"]
    # A second run stops at the same step with the same weights.
    again, curve_again, _ = fitted(60, evaluations=12, early_stopping=EarlyStopping(patience=2))
    assert curve_again == curve
    for weight, same in zip(learner.averaged.weights, again.averaged.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), same.numpy())


def test_without_early_stopping_the_budget_is_used_and_the_last_weights_exported():
    learner, curve, held_out = fitted(60, evaluations=12)
    assert curve[-1]["step"] == 60
    assert learner.evaluate(held_out)["mean_iou"] == curve[-1]["mean_iou"] < 0.5
