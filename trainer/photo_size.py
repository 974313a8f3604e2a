"""From probabilities at the model's size to labels and tallies at a photo's own size.

`predict`, `evaluate`, the report and TFMA's metrics all come through here, so that what is shown is what is measured.
"""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from trainer.features import FeatureSpec
from trainer.preprocessing import shrink_labels
from trainer.tally import tally


def predicted_labels(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The predicted label of every pixel of a photo.

    Args:
      probabilities: float32[H, W, C] at the model's size.
      height, width: the photo's own size.

    Returns:
      uint8[height, width], 0..C-1; of equal probabilities the lower label.
    """
    return labels_and_confidence(probabilities, height, width)[0]


def labels_and_confidence(probabilities: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The predicted label of every pixel of a photo, and its probability.

    Args:
      probabilities: float32[H, W, C] at the model's size.
      height, width: the photo's own size.

    Returns:
      uint8[height, width], 0..C-1, of equal probabilities the lower label; float32[height, width], 1/C..1.
    """
    return _largest(_resized_planes(probabilities, height, width))


def _resized_planes(probabilities: np.ndarray, height: int, width: int) -> Iterable[np.ndarray]:
    """float32[height, width] of each class. Three at a time, so that a large photo of many classes fits into memory."""
    # TensorFlow resizes three channels in about the time of one. `tf.image.resize` does the same and asks first what it
    # was given, for 0.2 ms of a photo's 4.
    for first in range(0, probabilities.shape[-1], 3):
        three = probabilities[np.newaxis, ..., first : first + 3]
        resized = tf.raw_ops.ResizeBilinear(images=three, size=[height, width], half_pixel_centers=True)
        yield from np.moveaxis(resized.numpy()[0], -1, 0)


def _largest(planes: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """`argmax` and `max` over planes of one shape; a pass a class is much faster than NumPy's along a short axis."""
    planes = iter(planes)
    best = next(planes).copy()
    labels = np.zeros(best.shape, np.uint8)
    for label, plane in enumerate(planes, 1):
        larger = plane > best
        np.maximum(best, plane, out=best)
        # Labels ascend, so the larger of the two is the later one.
        np.maximum(labels, larger * np.uint8(label), out=labels)
    return labels, best


def true_labels(mask: bytes, spec: FeatureSpec) -> np.ndarray:
    """A mask of the user (a one-channel PNG) as uint8[h, w] labels, `IGNORE_LABEL` where nothing counts."""
    return np.take(spec.label_table(), tf.io.decode_png(tf.constant(mask), channels=1).numpy()[:, :, 0])


@functools.lru_cache(maxsize=8)
def _shrinking(spec: FeatureSpec) -> Callable[[tf.Tensor], tf.Tensor]:
    """`shrink_labels` as one graph: its operations, called one by one, cost more to call than they take."""
    labels = tf.TensorSpec([None, None], tf.uint8)
    return tf.function(lambda photo: shrink_labels(photo, spec)).get_concrete_function(labels)


@functools.lru_cache(maxsize=1)
def _truth(mask: bytes, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """A mask's labels at its own size and at the model's. A gate holds two models against each mask in turn."""
    labels = true_labels(mask, spec)
    return labels, _shrinking(spec)(tf.constant(labels)).numpy()


def photo_tallies(mask: bytes, probabilities: np.ndarray, spec: FeatureSpec, tolerances: tuple[int, int]) -> np.ndarray:
    """Compares one photo's mask and prediction.

    Args:
      mask: one-channel PNG in the user's own values.
      probabilities: float32[H, W, C]. A blessed model of before may have another size than the config has now.
      spec: class map.
      tolerances: of boundaries, in pixels: at the photo's own size, and at the model's.

    Returns:
      float64[2, C, C + 2]: the tally at the photo's own size, and at the model's; see `trainer.tally`.
    """
    height, width, _ = probabilities.shape
    truth, smaller_truth = _truth(mask, spec.model_copy(update={"height": height, "width": width}))
    own, at_model_size = predicted_labels(probabilities, *truth.shape), _largest(np.moveaxis(probabilities, -1, 0))[0]
    return np.stack(
        [
            tally(truth, own, spec.num_classes, tolerances[0]),
            tally(smaller_truth, at_model_size, spec.num_classes, tolerances[1]),
        ]
    )
