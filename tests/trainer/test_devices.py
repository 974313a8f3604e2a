"""What the hardware decides: several devices make one update, and float16 is used where it pays."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.devices import uses_float16
from trainer.features import FeatureSpec
from trainer.loop import Learner
from trainer.settings import ModelSettings, TrainingSettings

# Logical devices must be made before TensorFlow starts, so this runs in a process of its own.
TWO_DEVICES = textwrap.dedent(
    """
    import itertools, json
    import numpy as np
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

    from trainer.features import FeatureSpec
    from trainer.loop import Learner
    from trainer.settings import ModelSettings, TrainingSettings

    SPEC = FeatureSpec(height=32, width=32)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def batches():
        rng = np.random.default_rng(0)
        while True:
            labels = rng.integers(0, 3, [4, 32, 32]).astype(np.uint8)
            # The halves differ in what counts, so a mean of their losses is not the loss of the whole.
            labels[:2, :20] = 255
            yield tf.constant(rng.normal(size=[4, 32, 32, 3]), tf.float32), tf.constant(labels)

    def train(strategy, name, timed=False, **options):
        settings = TrainingSettings(steps=3, batch_size=4, evaluations=3, ema_decay=0.5, **options)
        learner = Learner(SPEC, ModelSettings(name=name, filters=4, dropout=0.0), settings, [1.0, 2.0, 0.5], strategy)
        if timed:
            learner.steps_for(1e-6, batches())
        held_out = tf.data.Dataset.from_tensors(next(batches()))
        curve = learner.fit(3, batches(), held_out, lambda step, point: None)
        return learner, curve

    def furthest(ones, others):
        return max(float(np.abs(a.numpy() - b.numpy()).max()) for a, b in zip(ones, others, strict=True))

    def apart(learner):
        values = [variable.value.values for variable in learner.model.variables]
        return max(float(np.abs(a.numpy() * 1.0 - b.numpy()).max()) for a, b in values)

    found = {}
    recipe = {"focal_gamma": 2.0, "dice_weight": 0.5}
    one, curve = train(tf.distribute.get_strategy(), "unet", **recipe)
    both, curve_of_both = train(two, "unet", timed=True, **recipe)
    found["devices"] = [len(v.value.values) for v in both.model.variables]
    found["unet"] = {
        "weights": furthest(one.model.trainable_variables, both.model.trainable_variables),
        "averaged": furthest(one.averaged.trainable_variables, both.averaged.trainable_variables),
        "moved": furthest(one.model.trainable_variables, one.averaged.trainable_variables),
        "apart": apart(both),
        "losses": [[point["loss"] for point in points] for points in (curve, curve_of_both)],
    }
    residual, curve = train(two, "residual", mixed_precision=True)
    found["residual"] = {"apart": apart(residual), "losses": [point["loss"] for point in curve]}
    try:
        Learner(SPEC, ModelSettings(), TrainingSettings(steps=1, batch_size=3), strategy=two)
    except ValueError as error:
        found["uneven"] = str(error)
    print(json.dumps(found))
    """
)


@pytest.fixture(scope="module")
def two_devices() -> dict:
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_make_the_update_of_one_with_the_whole_batch(two_devices):
    assert set(two_devices["devices"]) == {2}
    unet = two_devices["unet"]
    one, both = unet["losses"]
    assert both == pytest.approx(one, rel=1e-4)
    # The one device was not timed before, so the timing of two leaves no trace either.
    assert unet["weights"] < 1e-5 < unet["moved"] / 10
    assert unet["averaged"] < 1e-5


def test_devices_stay_in_step_with_statistics_and_seeds_and_all(two_devices):
    assert two_devices["unet"]["apart"] == 0
    assert two_devices["residual"]["apart"] == 0
    assert np.isfinite(two_devices["residual"]["losses"]).all()


SPEC = FeatureSpec(height=32, width=32)


def batches():
    rng = np.random.default_rng(0)
    while True:
        labels = rng.integers(0, 3, [4, 4, 4]).repeat(8, 1).repeat(8, 2).astype(np.uint8)
        pixels = rng.normal(0, 0.3, [4, 32, 32, 3]) + np.eye(3)[labels]
        yield tf.constant(pixels, tf.float32), tf.constant(labels)


def trained(mixed_precision: bool, steps: int = 6) -> tuple[Learner, list[float]]:
    settings = TrainingSettings(steps=steps, batch_size=4, evaluations=steps, mixed_precision=mixed_precision)
    learner = Learner(SPEC, ModelSettings(filters=4), settings)
    held_out = tf.data.Dataset.from_tensors(next(batches()))
    curve = learner.fit(steps, batches(), held_out, lambda step, point: None)
    return learner, [point["loss"] for point in curve]


@pytest.fixture(scope="module")
def both_precisions():
    return trained(False), trained(True)


def test_mixed_precision_learns_what_float32_does(both_precisions):
    (_, exact), (learner, mixed) = both_precisions
    assert mixed == pytest.approx(exact, rel=0.03)
    assert mixed != exact
    assert learner.float16 and all(np.isfinite(weight.numpy()).all() for weight in learner.averaged.weights)


def test_mixed_precision_computes_in_float16_and_keeps_weights_logits_and_export_in_float32(both_precisions):
    (plain, _), (mixed, _) = both_precisions
    assert {layer.compute_dtype for layer in plain.model.layers} == {"float32"}
    computed = {layer.compute_dtype for layer in mixed.model.layers if layer.weights and layer.name != "head"}
    assert computed == {"float16"}
    assert {w.dtype for w in mixed.model.trainable_weights} == {"float32"}
    assert {layer.compute_dtype for layer in mixed.averaged.layers} == {"float32"}
    pixels, _ = next(batches())
    assert mixed.model(pixels).dtype == mixed.averaged(pixels).dtype == tf.float32
    # The policy was for that net alone.
    assert keras.config.dtype_policy().name == "float32"


def test_a_step_whose_gradient_overflows_float16_is_skipped(both_precisions):
    _, (learner, _) = both_precisions
    before = [weight.numpy() for weight in learner.model.trainable_weights]
    pixels, labels = next(batches())
    held_out = tf.data.Dataset.from_tensors((pixels, labels))
    scale = learner._optimizer.dynamic_scale
    scale.assign(2.0**120)
    learner.fit(1, iter([(pixels, labels)]), held_out, lambda step, point: None)
    assert float(scale.numpy()) == 2.0**119
    for weight, value in zip(learner.model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.parametrize(
    ("setting", "capabilities", "expected"),
    [
        (True, [], True),
        (False, [(9, 0)], False),
        ("auto", [], False),
        ("auto", [(7, 0)], True),
        ("auto", [(9, 0), (7, 5)], True),
        ("auto", [(6, 1)], False),
        # All devices share one graph.
        ("auto", [(9, 0), (6, 1)], False),
        # A GPU of another maker says nothing of it.
        ("auto", [None], False),
    ],
)
def test_float16_is_for_gpus_that_gain_by_it(monkeypatch, setting, capabilities, expected):
    details = [{} if found is None else {"compute_capability": found} for found in capabilities]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(range(len(details))))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu])
    assert uses_float16(setting) == expected


def test_a_batch_that_does_not_split_evenly_is_refused_with_the_mend(two_devices):
    assert two_devices["uneven"] == (
        "training.batch_size 3 cannot be split evenly over 2 devices; take a multiple of 2"
    )
