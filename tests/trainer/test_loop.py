"""Training: the schedule, the budget, and that a seed decides everything."""

import hashlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import SPEC

from trainer.batches import evaluation_batches, training_batches
from trainer.features import IGNORE_LABEL, ClassSpec, FeatureSpec
from trainer.loop import Learner, learning_rate
from trainer.settings import ModelSettings, TrainingSettings

SMALL = FeatureSpec(
    classes=(ClassSpec(name="pet", values=(1,)), ClassSpec(name="background", values=(2,))),
    ignore_values=(255,),
    height=32,
    width=32,
)
NET = ModelSettings(filters=4)


def easy_batches(count: int = 4, ignored: float = 0.0):
    """Endless batches whose labels can be read off the colour: red is pet, the rest background."""
    rng = np.random.default_rng(0)
    while True:
        labels = rng.integers(0, 2, [count, 4, 4]).repeat(8, 1).repeat(8, 2).astype(np.uint8)
        pixels = rng.normal(0, 0.1, [count, 32, 32, 3]) + np.where(labels[..., np.newaxis] == 0, [1, -1, 0], [-1, 1, 0])
        labels[rng.random(labels.shape) < ignored] = IGNORE_LABEL
        yield tf.constant(pixels, tf.float32), tf.constant(labels)


def held_out(batches: int = 1) -> tf.data.Dataset:
    pixels, labels = zip(*itertools.islice(easy_batches(), batches), strict=True)
    return tf.data.Dataset.from_tensor_slices((tf.stack(pixels), tf.stack(labels)))


def learner(**changes) -> Learner:
    return Learner(SMALL, NET, TrainingSettings(**({"steps": 4, "batch_size": 4, "evaluations": 2} | changes)))


def no_report(step: int, point: dict) -> None:
    """Nobody watches."""


def state(trained: Learner) -> list[str]:
    """A hash of every weight, since bytes make unreadable failures."""
    weights = [*trained.model.weights, *trained.averaged.weights]
    return [hashlib.sha256(weight.numpy().tobytes()).hexdigest()[:8] for weight in weights]


@pytest.mark.parametrize(
    ("step", "share_of_peak"),
    [
        # 100 steps, of which 10 warm up; then half a cosine wave over 90.
        (0, 1 / 11),
        (4, 5 / 11),
        (9, 10 / 11),
        (10, 1.0),
        (40, 0.75),
        (55, 0.5),
        (70, 0.25),
        (100, 0.0),
    ],
)
def test_the_learning_rate_warms_up_and_falls_to_zero(step, share_of_peak):
    settings = TrainingSettings(steps=100, learning_rate=0.02, warmup_share=0.1)
    assert learning_rate(step, 100, settings) == pytest.approx(0.02 * share_of_peak, abs=1e-9)


@pytest.mark.parametrize(("steps", "warmup_share"), [(1, 0.08), (1, 0.9), (2, 0.0), (7, 0.5), (50, 0.08)])
def test_every_step_of_any_budget_has_a_rate_up_to_the_peak(steps, warmup_share):
    settings = TrainingSettings(steps=steps, warmup_share=warmup_share)
    rates = [learning_rate(step, steps, settings) for step in range(steps)]
    assert all(0 < rate <= settings.learning_rate for rate in rates)
    peak = int(np.argmax(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_an_easy_task_is_learnt_around_ignored_pixels():
    trained = learner(ema_decay=0.9, evaluations=4, learning_rate=3e-2)
    reports = []
    curve = trained.fit(40, easy_batches(ignored=0.2), held_out(), lambda step, point: reports.append((step, point)))
    assert [point["step"] for point in curve] == [10, 20, 30, 40]
    assert all(point.keys() == {"step", "loss", "learning_rate", "mean_iou", "pixel_accuracy"} for point in curve)
    assert reports == [(point["step"], point) for point in curve]
    losses = [point["loss"] for point in curve]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 3
    assert curve[-1]["mean_iou"] > 0.95 and curve[-1]["pixel_accuracy"] > 0.95
    assert curve[-1]["learning_rate"] == learning_rate(39, 40, TrainingSettings(steps=40, learning_rate=3e-2))
    # What the curve measures is what `evaluate` says of the averaged net, which is the one that is exported.
    scores = trained.evaluate(held_out())
    assert {key: scores[key] for key in ("mean_iou", "pixel_accuracy")}.items() <= curve[-1].items()
    pixels, labels = next(iter(held_out()))
    guess = np.argmax(trained.averaged(pixels, training=False), axis=-1)
    assert (guess == labels.numpy()).mean() == pytest.approx(scores["pixel_accuracy"])


def test_evaluation_counts_every_batch_and_no_ignored_pixel(spare):
    pixels, labels = next(easy_batches())
    guess = np.argmax(spare.averaged(pixels, training=False), axis=-1).astype(np.uint8)
    # Where the net is wrong the label is ignored, so only its right guesses count.
    mostly_right = np.where(guess == labels.numpy(), guess, IGNORE_LABEL)
    assert 0 < (mostly_right == IGNORE_LABEL).sum() < labels.numpy().size
    right = tf.data.Dataset.from_tensors((pixels, mostly_right))
    assert spare.evaluate(right)["pixel_accuracy"] == 1.0
    wrong = tf.data.Dataset.from_tensors((pixels, 1 - guess))
    assert spare.evaluate(right.concatenate(wrong))["pixel_accuracy"] == pytest.approx(
        (guess == labels.numpy()).sum() / ((guess == labels.numpy()).sum() + guess.size)
    )


@pytest.mark.parametrize(
    ("steps", "points"),
    [
        (9, [3, 6, 9]),
        (7, [2, 5, 7]),
        (3, [1, 2, 3]),
        # Fewer steps than the three points asked for: every step is measured, the last one too.
        (2, [1, 2]),
        (1, [1]),
    ],
)
def test_the_curve_is_spread_over_the_budget_and_ends_with_it(spare, steps, points):
    curve = spare.fit(steps, easy_batches(), held_out(), no_report)
    assert [point["step"] for point in curve] == points


@pytest.mark.parametrize("steps", [2, 6])
def test_a_loss_that_is_no_number_stops_with_the_mend(spare, steps):
    def broken():
        yield next(easy_batches())
        for pixels, labels in easy_batches():
            yield pixels * np.nan, labels

    with pytest.raises(FloatingPointError, match=r"the loss is nan after step 2; a lower training.learning_rate"):
        spare.fit(steps, broken(), held_out(), no_report)


@pytest.fixture
def spare(shared_learner):
    """A learner that a test may spoil: it is put back afterwards, since a new one takes seconds to trace."""
    nets = (shared_learner.model, shared_learner.averaged)
    weights = [net.get_weights() for net in nets]
    yield shared_learner
    for net, values in zip(nets, weights, strict=True):
        net.set_weights(values)


@pytest.fixture(scope="module")
def shared_learner():
    return learner(evaluations=3)


def run(transformed, seed: int = 5, timed: bool = False) -> tuple[list[str], list[dict], list[int]]:
    """What `run_fn` does, from Transform's records to a trained net: shuffled, augmented, dropout and all."""
    settings = TrainingSettings(steps=3, batch_size=3, seed=seed, evaluations=1)
    learner = Learner(SPEC, NET, settings)

    def batches():
        return iter(training_batches([transformed.pattern], 7, SPEC, settings))

    # Nothing fits into a microsecond, and still something must be trained.
    steps = [learner.steps_for(minutes, batches()) for minutes in (1e-8, 10)] if timed else []
    curve = learner.fit(3, batches(), evaluation_batches([transformed.pattern], SPEC, 7), no_report)
    return state(learner), curve, steps


@pytest.fixture(scope="module")
def two_runs(transformed):
    """The first as in a new process, the second as when a pipeline runs twice in one."""
    # Keras counts the names of layers through a process, and TensorFlow orders a graph's sums by names.
    keras.utils.clear_session()
    return run(transformed), run(transformed)


def test_two_runs_with_one_seed_agree_bit_for_bit(two_runs):
    (weights, curve, _), (again, curve_again, _) = two_runs
    assert curve == curve_again
    assert weights == again


def test_another_seed_starts_elsewhere():
    assert state(learner(seed=5)) != state(learner(seed=6))


def test_minutes_become_steps_and_the_timing_leaves_no_trace(transformed, two_runs):
    keras.utils.clear_session()
    weights, curve, (least, many) = run(transformed, timed=True)
    assert least == 1 and many > 10
    # Not only the weights are back: the optimiser's moments and the dropout's seed are, or training would differ.
    (untimed, untimed_curve, _), _ = two_runs
    assert curve == untimed_curve
    assert weights == untimed


@pytest.fixture(scope="module")
def decayed():
    """A learner after one step without a gradient, since no pixel counted; and its variables before."""

    def ignored():
        for pixels, labels in easy_batches():
            yield pixels, tf.fill(labels.shape, tf.constant(IGNORE_LABEL, tf.uint8))

    trained = learner(weight_decay=0.5, learning_rate=0.1, warmup_share=0.0)
    pixels, _ = next(easy_batches())
    np.testing.assert_array_equal(trained.averaged(pixels, training=False), trained.model(pixels, training=False))
    # Biases start at zero, where nothing could be seen to shrink.
    before = [np.where(weight == 0, 0.5, weight) for weight in trained.model.get_weights()]
    for net in (trained.model, trained.averaged):
        net.set_weights(before)
    trained.fit(1, ignored(), held_out(), no_report)
    return trained, before


def test_weight_decay_shrinks_kernels_and_nothing_else(decayed):
    trained, before = decayed
    trainable = {v.path for v in trained.model.trainable_variables}
    for variable, start in zip(trained.model.weights, before, strict=True):
        if variable.path in trainable:
            share = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1.0
            np.testing.assert_allclose(variable.numpy(), start * share, rtol=1e-5, err_msg=variable.path)


def test_the_averaged_net_follows_the_net_and_its_statistics(decayed):
    trained, before = decayed
    assert any((v.numpy() != start).any() for v, start in zip(trained.model.weights, before, strict=True))
    for mean, last, start in zip(trained.averaged.weights, trained.model.weights, before, strict=True):
        # In a short run the average follows closely: after the first step a tenth of it is still the start.
        np.testing.assert_allclose(mean.numpy(), 0.1 * start + 0.9 * last.numpy(), rtol=1e-4, atol=1e-6)
