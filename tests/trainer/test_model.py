"""The nets: shapes, sizes and parameters, and that they can be copied and saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.model import FusedBatchNormalization, build_model
from trainer.settings import ModelSettings


def photos(count: int, height: int, width: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=[count, height, width, 3]), tf.float32)


def test_the_seeds_unet_has_the_parameters_it_always_had():
    model = build_model(ModelSettings(name="unet"), 96, 128, 4)
    assert model.count_params() == 8_639_844
    assert model.output_shape == (None, 96, 128, 4)


def test_the_residual_net_is_twenty_times_smaller():
    model = build_model(ModelSettings(), 96, 128, 3)
    assert model.count_params() == 416_268
    assert model.output_shape == (None, 96, 128, 3)


@pytest.mark.parametrize("name", ["residual", "unet"])
@pytest.mark.parametrize(("height", "width", "classes"), [(32, 32, 2), (48, 160, 3), (112, 64, 11), (32, 48, 254)])
def test_every_pixel_gets_a_logit_for_every_class(name, height, width, classes):
    model = build_model(ModelSettings(name=name, filters=4), height, width, classes)
    logits = model(photos(2, height, width), training=False)
    assert (logits.shape, logits.dtype) == ((2, height, width, classes), tf.float32)
    # Logits, not probabilities: the loss and the export apply softmax themselves.
    assert float(tf.reduce_min(logits)) < 0


@pytest.mark.parametrize("name", ["residual", "unet"])
def test_one_net_serves_sizes_it_was_not_built_for(name):
    anywhere = build_model(ModelSettings(name=name, filters=4), None, None, 3)
    fixed = build_model(ModelSettings(name=name, filters=4), 32, 64, 3)
    anywhere.set_weights(fixed.get_weights())
    np.testing.assert_allclose(anywhere(photos(1, 32, 64)), fixed(photos(1, 32, 64)), atol=1e-5)
    assert anywhere(photos(1, 64, 48)).shape == (1, 64, 48, 3)


@pytest.mark.parametrize("name", ["residual", "unet"])
@pytest.mark.parametrize(("height", "width"), [(40, 40), (32, 50)])
def test_a_size_that_cannot_be_halved_four_times_is_refused_rather_than_cut(name, height, width):
    with pytest.raises(ValueError):
        build_model(ModelSettings(name=name, filters=4), height, width, 3)


@pytest.mark.parametrize("name", ["residual", "unet"])
def test_settings_reach_the_net(name):
    def built(**options):
        return build_model(ModelSettings(name=name, **options), 32, 32, 3)

    def dropout(model):
        return {layer.rate for layer in model.layers if hasattr(layer, "rate")}

    assert built(filters=4).count_params() < built(filters=8).count_params() < built().count_params()
    assert dropout(built(filters=4, dropout=0.25)) == {0.25}
    assert dropout(built(filters=4, dropout=0.0)) == {0.0}
    assert dropout(built(filters=4)) == {{"residual": 0.1, "unet": 0.3}[name]}


@pytest.mark.parametrize("name", ["residual", "unet"])
def test_a_photo_is_judged_alone(name):
    model = build_model(ModelSettings(name=name, filters=4), 32, 32, 3)
    batch = photos(4, 32, 32)
    np.testing.assert_allclose(model(batch, training=False)[:1], model(batch[:1], training=False), atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "unet"])
def test_a_net_survives_a_keras_file(name, tmp_path):
    model = build_model(ModelSettings(name=name, filters=4), 32, 32, 3)
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again(photos(2, 32, 32)), model(photos(2, 32, 32)))


def trained_once(layer: layers.Layer, inputs: tf.Tensor) -> tuple[list[np.ndarray], np.ndarray]:
    """What a layer gives in training, the gradients of its input and weights, and what it gives afterwards."""
    layer.build(inputs.shape)
    layer.gamma.assign(np.linspace(0.5, 2.0, inputs.shape[-1]))
    layer.beta.assign(np.linspace(-1.0, 1.0, inputs.shape[-1]))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32)))
    gradients = tape.gradient(loss, [inputs, *(weight.value for weight in layer.trainable_variables)])
    return [np.asarray(part, np.float32) for part in (outputs, *gradients)], layer(inputs, training=False)


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-4), ("mixed_float16", 2e-2)])
def test_the_fused_normalisation_trains_and_answers_as_kerass_own(policy, tolerance):
    inputs = 1.0 + 2.0 * photos(8, 24, 32)
    fused, own = (
        trained_once(kind(momentum=0.5, dtype=policy), tf.cast(inputs, "float16" if "16" in policy else "float32"))
        for kind in (FusedBatchNormalization, layers.BatchNormalization)
    )
    for one, other in zip(fused[0], own[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())
    # Its moving variance is the unbiased one.
    np.testing.assert_allclose(fused[1], own[1], atol=max(tolerance, 1e-3))


def test_a_frozen_normalisation_keeps_its_statistics():
    layer = FusedBatchNormalization(trainable=False)
    inputs = 1.0 + 2.0 * photos(2, 16, 16)
    np.testing.assert_array_equal(layer(inputs, training=True), layer(inputs, training=False))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))
