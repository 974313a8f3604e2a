"""Random changes of a training batch, the same for a photo and its labels.

Geometry is one affine map per example, applied to pixels bilinearly and to labels by nearest neighbour, so that a
label is moved but never mixed. Every draw comes from a stateless seed: step k of seed s is always the same batch.
"""

import numpy as np
import tensorflow as tf

from trainer.settings import AugmentSettings


def augment(
    pixels: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments one batch.

    Args:
      pixels: float32[N, H, W, 3], normalised.
      labels: uint8[N, H, W].
      seed: int32[2], a stateless seed.
      settings: how far each change may go.

    Returns:
      The batch, of the same shapes and dtypes.
    """
    geometry, colour = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    shape = tf.shape(labels)
    maps = _affine_maps(shape[0], tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32), geometry, settings)
    moved = _move(pixels, maps, "BILINEAR")
    moved_labels = _move(tf.cast(labels[..., tf.newaxis], tf.float32), maps, "NEAREST")[..., 0]
    return _recolour(moved, colour, settings), tf.cast(moved_labels, tf.uint8)


def _uniform(count: tf.Tensor, low: float, high: float, seed: tf.Tensor, salt: int) -> tf.Tensor:
    return tf.random.stateless_uniform([count], seed + [0, salt], low, high)


def _affine_maps(
    count: tf.Tensor, height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings
) -> tf.Tensor:
    """float32[N, 8] maps from output to input coordinates, as ImageProjectiveTransformV3 takes them."""
    scale = _uniform(count, settings.min_scale, settings.max_scale, seed, 1)
    aspect = tf.exp(_uniform(count, -settings.aspect, settings.aspect, seed, 2))
    angle = _uniform(count, -settings.rotation, settings.rotation, seed, 3) * (np.pi / 180)
    ones = tf.ones([count])
    flip = tf.where(_uniform(count, -1.0, 1.0, seed, 4) < 0, -ones, ones) if settings.flip else ones
    # A window of `scale` times the photo can lie anywhere that keeps it inside; a larger one is centred by symmetry.
    slack = tf.abs(1.0 - scale)
    shift_x = _uniform(count, -0.5, 0.5, seed, 5) * slack * width
    shift_y = _uniform(count, -0.5, 0.5, seed, 6) * slack * height
    sx, sy = scale * tf.sqrt(aspect), scale / tf.sqrt(aspect)
    a, b = tf.cos(angle) * sx * flip, -tf.sin(angle) * sy
    c, d = tf.sin(angle) * sx * flip, tf.cos(angle) * sy
    cx, cy = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    zeros = tf.zeros([count])
    return tf.stack([a, b, cx + shift_x - a * cx - b * cy, c, d, cy + shift_y - c * cx - d * cy, zeros, zeros], axis=1)


def _move(images: tf.Tensor, maps: tf.Tensor, interpolation: str) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        interpolation=interpolation,
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _recolour(pixels: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """Scales contrast and saturation and shifts brightness, in units of the normalised pixels."""
    count = tf.shape(pixels)[0]

    def draw(low: float, high: float, salt: int) -> tf.Tensor:
        return tf.reshape(_uniform(count, low, high, seed, salt), [-1, 1, 1, 1])

    strength = settings.colour
    grey = tf.reduce_mean(pixels, axis=-1, keepdims=True)
    pixels = grey + (pixels - grey) * draw(1 - strength, 1 + strength, 1)
    mean = tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True)
    return mean + (pixels - mean) * draw(1 - strength, 1 + strength, 2) + draw(-strength, strength, 3)
