"""Boundary F1: how well the borders between classes are placed, which IoU hardly sees on large objects.

The measure of Csurka et al. 2013 (What is a good evaluation measure for semantic segmentation?, BMVC), per photo and
class; the DAVIS benchmark (Perazzi et al. 2016, CVPR) matches as is done here, by dilation with a disc:

    boundary_f1(labels, predicted, num_classes=3, tolerance=5)      # float64[3]
"""

import math

import numpy as np

from trainer.features import IGNORE_LABEL

_BITS = 8


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
    pictures = [(picture, boundary_pixels(picture)) for picture in (labels, guess)]
    result = np.full(num_classes, np.nan)
    for first in range(0, num_classes, _BITS):
        true, found = (_bit_planes(picture, marked, first) for picture, marked in pictures)
        right, met = found & dilate(true, tolerance), true & dilate(found, tolerance)
        for bit in range(min(_BITS, num_classes - first)):
            true_count, found_count, right_count, met_count = (
                np.count_nonzero(planes & np.uint8(1 << bit)) for planes in (true, found, right, met)
            )
            if true_count + found_count:
                # 2 P R / (P + R) without a division by zero where a count is.
                matched = right_count * met_count
                result[first + bit] = 2 * matched / max(right_count * true_count + met_count * found_count, 1)
    return result


def _bit_planes(labels: np.ndarray, marked: np.ndarray, first: int) -> np.ndarray:
    """uint8[h, w]: bit k of a marked pixel says that its label is `first` + k."""
    bits = np.zeros(256, np.uint8)
    bits[first : first + _BITS] = 1 << np.arange(_BITS)
    return np.where(marked, np.take(bits, labels), np.uint8(0))
