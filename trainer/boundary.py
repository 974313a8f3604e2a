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
    marked, known = np.zeros(labels.shape, bool), labels != IGNORE_LABEL
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        edge = (labels[first] != labels[second]) & known[first] & known[second]
        marked[first] |= edge
        marked[second] |= edge
    return marked


def dilate(bits: np.ndarray, radius: int) -> np.ndarray:
    """Dilates each bit plane with a disc.

    Args:
      bits: uint8[h, w], up to eight pictures in one.
      radius: in pixels; a disc holds the pixels whose centres lie within it of its own.

    Returns:
      uint8[h, w].
    """
    height, width = bits.shape
    # Half the width of the disc `row` rows above or below its centre.
    reach = [math.isqrt(radius**2 - row**2) for row in range(radius + 1)]
    rows, spread, result = bits.copy(), 0, bits.copy()
    for row in range(radius, -1, -1):
        while spread < reach[row]:
            spread += 1
            rows[:, spread:] |= bits[:, : max(width - spread, 0)]
            rows[:, : max(width - spread, 0)] |= bits[:, spread:]
        result[row:] |= rows[: max(height - row, 0)]
        result[: max(height - row, 0)] |= rows[row:]
    return result


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
    guess = np.where(labels == IGNORE_LABEL, np.uint8(IGNORE_LABEL), predicted)
    true, found = _boundary(labels), _boundary(guess)
    right, met = _matched(found, true, labels.shape, tolerance)
    true_count, found_count, right_count, met_count = (
        np.bincount(of_class, minlength=num_classes)
        for of_class in (true.classes, found.classes, found.classes[right], true.classes[met])
    )
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


def _matched(
    found: _Boundary, true: _Boundary, shape: tuple[int, int], tolerance: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which boundary pixels of each of two have one of the other of their own class within the tolerance.

    Returns:
      bool[n] of those of `found`, bool[m] of those of `true`.
    """
    right, met = np.zeros(len(found.indices), bool), np.zeros(len(true.indices), bool)
    present = np.intersect1d(found.classes, true.classes)
    for first in range(0, len(present), _CLASSES_AT_ONCE):
        group = present[first : first + _CLASSES_AT_ONCE]
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
