"""Boundary F1: how well the borders between classes are placed, which IoU hardly sees on large objects.

The measure of Csurka et al. 2013 (What is a good evaluation measure for semantic segmentation?, BMVC), per photo and
class; the DAVIS benchmark (Perazzi et al. 2016, CVPR) matches as is done here, by dilation with a disc:

    boundary_f1(labels, predicted, num_classes=3, tolerance=5)      # float64[3]
"""

import math
from typing import NamedTuple

import numpy as np

from trainer.features import IGNORE_LABEL

# A byte holds a bit for truth and one for prediction of so many classes.
_CLASSES_AT_ONCE = 4


def boundary_pixels(labels: np.ndarray) -> np.ndarray:
    """Marks the pixels that touch another class.

    Args:
      labels: uint8[h, w]; `IGNORE_LABEL` is no class: neither such a pixel nor one that only touches it is marked.

    Returns:
      bool[h, w]: True where one of the four neighbours inside the photo is of another class. The photo's edge is none.
    """
    # NumPy is twice as fast on one long row as on many short ones.
    pixels, width = labels.ravel(), labels.shape[1]
    marked, known = np.zeros(pixels.shape, bool), pixels != IGNORE_LABEL
    for step, last_of_row in ((1, np.s_[width - 1 :: width]), (width, np.s_[:0])):
        edge = (pixels[step:] != pixels[:-step]) & known[step:] & known[:-step]
        edge[last_of_row] = False
        marked[step:] |= edge
        marked[:-step] |= edge
    return marked.reshape(labels.shape)


def dilate(bits: np.ndarray, radius: int) -> np.ndarray:
    """Dilates each bit plane with a disc.

    Args:
      bits: uint8[h, w], up to eight pictures in one.
      radius: in pixels; a disc holds the pixels whose centres lie within it of its own.

    Returns:
      uint8[h, w].
    """
    # One long row, with as many zeros between two rows as a disc reaches: what leaves one row must not enter the next.
    pixels = np.pad(bits, ((radius, radius), (0, radius)))
    shape, pixels = pixels.shape, pixels.ravel()
    # Half the width of the disc `row` rows above or below its centre.
    reach = [math.isqrt(radius**2 - row**2) for row in range(radius + 1)]
    rows, spread, result = pixels.copy(), 0, pixels.copy()
    for row in range(radius, -1, -1):
        while spread < reach[row]:
            spread += 1
            _merge(rows, pixels, spread)
        _merge(result, rows, row * shape[1])
    return result.reshape(shape)[radius : shape[0] - radius, : bits.shape[1]]


def _merge(result: np.ndarray, pixels: np.ndarray, distance: int) -> None:
    """Adds the bits of the pixels that lie so far before and after each."""
    result[distance:] |= pixels[: len(pixels) - distance]
    result[: len(pixels) - distance] |= pixels[distance:]


def boundary_f1(labels: np.ndarray, predicted: np.ndarray, num_classes: int, tolerance: int) -> np.ndarray:
    """F1 of each class's boundary in one photo.

    Precision is the share of predicted boundary pixels with a true one of the same class within the tolerance, recall
    the share of true ones with a predicted one; F1 = 2 P R / (P + R).

    Args:
      labels: uint8[h, w], 0..C-1 or `IGNORE_LABEL`, whose pixels are cut out of truth and prediction.
      predicted: uint8[h, w], 0..C-1.
      num_classes: C.
      tolerance: largest Euclidean distance between centres of pixels, in pixels.

    Returns:
      float64[C] in 0..1; 0 if only one of truth and prediction has a boundary of the class, NaN if neither has.
    """
    guess = np.maximum(predicted, (labels == IGNORE_LABEL) * np.uint8(IGNORE_LABEL))
    true, found = _boundary(labels), _boundary(guess)
    true_count, found_count = _counts(true.classes, num_classes), _counts(found.classes, num_classes)
    in_both = np.flatnonzero(np.minimum(true_count, found_count))
    right, met = _matched(found, true, in_both, labels.shape, tolerance)
    right_count, met_count = _counts(found.classes[right], num_classes), _counts(true.classes[met], num_classes)
    # 2 P R / (P + R), multiplied out so that a count of zero divides nothing.
    both = right_count * true_count + met_count * found_count
    f1 = 2 * right_count * met_count / np.maximum(both, 1)
    return np.where(true_count + found_count > 0, f1, np.nan)


class _Boundary(NamedTuple):
    """Boundary pixels of a photo: int64[n] indices into its flattened pixels, and uint8[n] classes."""

    indices: np.ndarray
    classes: np.ndarray


def _boundary(labels: np.ndarray) -> _Boundary:
    indices = np.flatnonzero(boundary_pixels(labels))
    return _Boundary(indices, labels.ravel()[indices])


def _counts(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(classes, minlength=num_classes)


def _matched(
    found: _Boundary, true: _Boundary, in_both: np.ndarray, shape: tuple[int, int], tolerance: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which boundary pixels of each of two have one of the other of their own class within the tolerance.

    Args:
      found, true: the two, of a photo of such a shape.
      in_both: int64[k], the classes of both.

    Returns:
      bool[n] of those of `found`, bool[m] of those of `true`.
    """
    right, met = np.zeros(len(found.indices), bool), np.zeros(len(true.indices), bool)
    for first in range(0, len(in_both), _CLASSES_AT_ONCE):
        group = in_both[first : first + _CLASSES_AT_ONCE]
        bits = np.zeros(256, np.uint8)
        bits[group] = 1 << np.arange(len(group))
        of_found, of_true = bits[found.classes] << _CLASSES_AT_ONCE, bits[true.classes]
        planes = np.zeros(shape, np.uint8)
        planes.ravel()[true.indices] = of_true
        planes.ravel()[found.indices] |= of_found
        spread = dilate(planes, tolerance).ravel()
        right |= (spread[found.indices] << _CLASSES_AT_ONCE & of_found) != 0
        met |= (spread[true.indices] >> _CLASSES_AT_ONCE & of_true) != 0
    return right, met
