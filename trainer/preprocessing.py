"""The transform graph: the one place where photos are resized and normalised and mask values become labels.

TensorFlow Transform traces `preprocessing_fn` once. Training reads what it wrote, evaluation and serving run the
same graph, and all three open its packed bytes with `unpack`, so that they see the same numbers:

    packed = preprocessing_fn({"image": jpegs, "mask": pngs}, {"feature_spec": spec.model_dump_json()})
    pixels, labels = unpack_pixels(packed["pixels"], spec), unpack_labels(packed["labels"], spec)
"""

from functools import reduce
from typing import Any

import tensorflow as tf

from trainer.features import IGNORE_LABEL, IMAGE, LABELS, MASK, PIXELS, FeatureSpec


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Turns raw examples into packed pixels and labels.

    Args:
      inputs: `image` string[N, 1], an encoded photo; `mask` string[N, 1], a one-channel PNG. Others are not used.
      custom_config: `feature_spec`, the JSON of a `FeatureSpec`.

    Returns:
      `pixels` string[N, 1] and `labels` string[N, 1]: the bytes of float16[H, W, 3] and uint8[H, W]. Each depends on
      its own input alone, so that serving can ask for the pixels of a photo that has no mask.
    """
    spec = FeatureSpec.model_validate_json(custom_config["feature_spec"])
    pixels = normalise(resized_photos(tf.reshape(inputs[IMAGE], [-1]), spec), spec)
    labels = resized_labels(tf.reshape(inputs[MASK], [-1]), spec)
    return {PIXELS: _pack(tf.cast(pixels, tf.float16))[:, tf.newaxis], LABELS: _pack(labels)[:, tf.newaxis]}


def resized_photos(encoded: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """string[N] of JPEG, PNG, GIF or BMP -> float32[N, H, W, 3] RGB in 0..255, each averaged over its area."""

    def resize(photo: tf.Tensor) -> tf.Tensor:
        rgb = tf.io.decode_image(photo, channels=3, expand_animations=False)
        rgb.set_shape([None, None, 3])
        return tf.image.resize(rgb, [spec.height, spec.width], method="area")

    return tf.map_fn(resize, encoded, fn_output_signature=tf.TensorSpec([spec.height, spec.width, 3], tf.float32))


def normalise(pixels: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """float32[..., 3] in 0..255 -> float32[..., 3] of zero mean and unit variance over photographs."""
    return (pixels / 255.0 - spec.pixel_mean) / spec.pixel_std


def shrink_labels(labels: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """uint8[h, w] -> uint8[H, W]: each pixel takes the label that covers most of its area.

    A majority never invents a label, as bilinear interpolation of class ids would, and keeps thin classes better than
    the nearest pixel does. A tie goes to the lower label; the ignore label is the last to win one.
    """
    return _majority([labels == label for label in range(spec.num_classes)], spec)


def _majority(where: list[tf.Tensor], spec: FeatureSpec) -> tf.Tensor:
    """bool[h, w] for each class, where it is -> uint8[H, W], see `shrink_labels`."""
    # A plane of bytes for each class takes half the time of a one-hot vector for each pixel.
    planes = tf.cast(tf.stack(where), tf.uint8)[..., tf.newaxis]
    shares = tf.image.resize(planes, [spec.height, spec.width], method="area")[..., 0]
    shares = tf.concat([shares, 1.0 - tf.reduce_sum(shares, axis=0, keepdims=True)], axis=0)
    # Equal areas can differ in the last bits of their sums; rounding makes them tie.
    winners = tf.cast(tf.argmax(tf.round(shares * 1e5)), tf.uint8)
    return tf.where(winners == spec.num_classes, tf.constant(IGNORE_LABEL, tf.uint8), winners)


def resized_labels(encoded: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """string[N] of PNG masks -> uint8[N, H, W] labels in 0..C-1 or `IGNORE_LABEL`: `shrink_labels` of each mask."""

    def resize(mask: tf.Tensor) -> tf.Tensor:
        # Straight from the values: looking up the label of each pixel would take as long as all else.
        values = tf.io.decode_png(mask, channels=1)[:, :, 0]
        return _majority([reduce(tf.logical_or, [values == v for v in c.values]) for c in spec.classes], spec)

    return tf.map_fn(resize, encoded, fn_output_signature=tf.TensorSpec([spec.height, spec.width], tf.uint8))


def unpack_pixels(packed: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """string[N] or string[N, 1] of `pixels` -> float32[N, H, W, 3], normalised."""
    flat = tf.io.decode_raw(tf.reshape(packed, [-1]), tf.float16)
    return tf.cast(tf.reshape(flat, [-1, spec.height, spec.width, 3]), tf.float32)


def unpack_labels(packed: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """string[N] or string[N, 1] of `labels` -> uint8[N, H, W]."""
    flat = tf.io.decode_raw(tf.reshape(packed, [-1]), tf.uint8)
    return tf.reshape(flat, [-1, spec.height, spec.width])


def _pack(batch: tf.Tensor) -> tf.Tensor:
    """T[N, ...] -> string[N], the raw little-endian bytes of each element.

    TensorFlow has no inverse of `decode_raw`; `serialize_tensor` writes a TensorProto whose last field is those bytes.
    """
    size = batch.shape[1:].num_elements() * batch.dtype.size
    protos = tf.map_fn(tf.io.serialize_tensor, batch, fn_output_signature=tf.TensorSpec([], tf.string))
    return tf.strings.substr(protos, -size, size)
