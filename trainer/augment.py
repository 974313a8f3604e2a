"""Random changes of a training batch, the same for a photo and its labels.

Geometry is one affine map per example, applied to pixels bilinearly and to labels by nearest neighbour, so that a
label is moved but never mixed; then a rectangle of another photo may be put over it, labels and all. Every draw comes
from a stateless seed: step k of seed s is always the same batch.
"""

import numpy as np
import tensorflow as tf

from trainer.features import FeatureSpec
from trainer.settings import AugmentSettings


def strength(step: tf.Tensor, steps: int | None, settings: AugmentSettings) -> tf.Tensor:
    """How much of each change a step gets: all of it at first, less over the last `settings.relax_share` of the steps.

    The last steps so see photos much like those that the model will be asked about.

    Args:
      step: int64 scalar, counted from 0.
      steps: of the whole training; None for a training of unknown length, which never relaxes.
      settings: `relax_share` and `relaxed`.

    Returns:
      float32 scalar, `settings.relaxed`..1.
    """
    if steps is None or not settings.relax_share:
        return tf.constant(1.0)
    left = 1.0 - tf.cast(step, tf.float32) / steps
    return tf.clip_by_value(left / settings.relax_share, settings.relaxed, 1.0)


def augment(
    pixels: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    settings: AugmentSettings,
    spec: FeatureSpec,
    share: tf.Tensor | float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments one batch.

    Args:
      pixels: float32[N, H, W, 3], normalised.
      labels: uint8[N, H, W].
      seed: int32[2], a stateless seed.
      settings: how far each change may go.
      spec: the constants of normalisation.
      share: how much of that, 0..1; see `strength`.

    Returns:
      The batch, of the same shapes and dtypes.
    """
    geometry, colour, cut = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    shape = tf.shape(labels)
    height, width = tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)
    maps = _affine_maps(shape[0], height, width, geometry, settings, share)
    moved = _move(pixels, maps, "BILINEAR")
    moved_labels = _move(labels[..., tf.newaxis], maps, "NEAREST")
    coloured = _recolour(_bend(moved, colour, settings, spec, share), colour, settings, share)
    mixed, mixed_labels = _cut_and_paste(coloured, moved_labels, cut, share * settings.cut_and_paste)
    return mixed, mixed_labels[..., 0]


def _uniform(count: tf.Tensor, low: float, high: float, seed: tf.Tensor, salt: int) -> tf.Tensor:
    return tf.random.stateless_uniform([count], seed + [0, salt], low, high)


def _per_photo(count: tf.Tensor, low: float, high: float, seed: tf.Tensor, salt: int) -> tf.Tensor:
    return tf.reshape(_uniform(count, low, high, seed, salt), [-1, 1, 1, 1])


def _affine_maps(
    count: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    seed: tf.Tensor,
    settings: AugmentSettings,
    share: tf.Tensor | float,
) -> tf.Tensor:
    """float32[N, 8] maps from output to input coordinates, as ImageProjectiveTransformV3 takes them."""
    scale = 1.0 + share * (_uniform(count, settings.min_scale, settings.max_scale, seed, 1) - 1.0)
    aspect = tf.exp(share * _uniform(count, -settings.aspect, settings.aspect, seed, 2))
    angle = share * _uniform(count, -settings.rotation, settings.rotation, seed, 3) * (np.pi / 180)
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


def _bend(
    pixels: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings, spec: FeatureSpec, share: tf.Tensor | float
) -> tf.Tensor:
    """Raises each photo, as 0..1, to a power: its dark parts become darker or lighter."""
    if not settings.gamma:
        return pixels
    count, height, width, _ = tf.unstack(tf.shape(pixels))
    power = tf.exp(share * _per_photo(count, -settings.gamma, settings.gamma, seed, 4))
    # Constants for a row at a time multiply twice as fast as those of three channels.
    mean, std = (tf.tile(tf.constant(values), [width]) for values in (spec.pixel_mean, spec.pixel_std))
    rows = tf.reshape(pixels, [count, 1, height, 3 * width])
    # Interpolation leaves values a little below zero, which have no power.
    positive = tf.maximum(rows * std + mean, 1e-4)
    # `positive ** power`, which takes TensorFlow five times as long.
    bent = tf.exp(power * tf.math.log(positive))
    return tf.reshape((bent - mean) * (1.0 / std), tf.shape(pixels))


def _recolour(pixels: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings, share: tf.Tensor | float) -> tf.Tensor:
    """Scales contrast and saturation, shifts brightness and tint, in units of the normalised pixels; drains some.

    Each is an affine map of colours, so one matrix and one offset for each photo do them all: in a pass for each, they
    would take four times as long.
    """
    count = tf.shape(pixels)[0]

    def draw(salt: int) -> tf.Tensor:
        return share * _per_photo(count, -settings.colour, settings.colour, seed, salt)[..., 0]

    grey, as_is = tf.fill([3, 3], 1.0 / 3.0), tf.eye(3)
    saturated = grey + (as_is - grey) * (1.0 + draw(1))
    contrast = 1.0 + draw(2)
    # Saturation leaves the mean as it is.
    mean = tf.reduce_mean(pixels, axis=[1, 2, 3])[:, tf.newaxis, tf.newaxis]
    tint = share * tf.random.stateless_uniform([count, 1, 3], seed + [0, 5], -settings.tint, settings.tint)
    drained = _per_photo(count, 0.0, 1.0, seed, 6)[..., 0] < share * settings.grey
    last = tf.where(drained, grey, as_is)
    colours = tf.reshape(pixels, [count, -1, 3])
    changed = colours @ (contrast * saturated @ last) + (mean * (1.0 - contrast) + draw(3) + tint) @ last
    return tf.reshape(changed, tf.shape(pixels))


def _cut_and_paste(
    pixels: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, probability: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts a rectangle of the photo before over a photo, labels and all (CutMix: Yun et al. 2019).

    Args:
      pixels: float32[N, H, W, 3].
      labels: uint8[N, H, W, 1].
      seed: int32[2].
      probability: of each photo to get one, whose sides are 0.3 to 0.7 of the photo's.
    """
    shape = tf.shape(labels)
    inside = _per_photo(shape[0], 0.0, 1.0, seed, 1) < probability
    for axis, salt in ((1, 2), (2, 4)):
        extent = tf.cast(shape[axis], tf.float32)
        side = _per_photo(shape[0], 0.3, 0.7, seed, salt) * extent
        start = _per_photo(shape[0], 0.0, 1.0, seed, salt + 1) * (extent - side)
        at = tf.reshape(tf.range(extent), [-1, 1, 1] if axis == 1 else [1, -1, 1])
        inside &= (at >= start) & (at < start + side)
    return tf.where(inside, tf.roll(pixels, 1, 0), pixels), tf.where(inside, tf.roll(labels, 1, 0), labels)
