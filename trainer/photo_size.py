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
    """float32[height, width] of each class, which the next one overwrites: the bits of `tf.image.resize`, bilinear.

    TensorFlow takes 1.7 times as long to the largest class: it goes through each row anew where this goes through the
    few rows of the model once, and it leaves the classes of a pixel side by side.
    """
    top, bottom, down = _neighbours(height, probabilities.shape[0])
    left, right, across = _neighbours(width, probabilities.shape[1])
    plane, below = np.empty([height, width], np.float32), np.empty([height, width], np.float32)
    for of_class in np.moveaxis(probabilities, -1, 0):
        wide = of_class.take(left, axis=1)
        wide += (of_class.take(right, axis=1) - wide) * across
        # NumPy fills an array that it is given at once only where it need not look out for a wrong index.
        wide.take(top, axis=0, out=plane, mode="clip")
        wide.take(bottom, axis=0, out=below, mode="clip")
        below -= plane
        below *= down[:, np.newaxis]
        plane += below
        yield plane


def _neighbours(size: int, smaller: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the centres of so many pixels lie between those of fewer ones.

    Returns:
      int64[size] index of the one before, and of the one after; float32[size] distance from the former, 0..1.
    """
    half = np.float32(0.5)
    centres = (np.arange(size, dtype=np.float32) + half) * (np.float32(smaller) / np.float32(size)) - half
    before = np.floor(centres)
    first, second = np.maximum(before, 0), np.minimum(before + 1, smaller - 1)
    return first.astype(np.int64), second.astype(np.int64), centres - before


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
    return tf.function(lambda photo: shrink_labels(photo, spec), autograph=False).get_concrete_function(labels)


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
