"""Confusion matrices over pixels and every score that follows from one.

matrix = confusion_matrix(labels, predicted, num_classes=3)
scores(matrix, ["pet", "background", "contour"], background=1)["mean_iou"]
"""

import numpy as np

from trainer.features import IGNORE_LABEL

_FEW_CLASSES = 4


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels by true and predicted label.

    Args:
      labels: uint8 of any shape, 0..C-1 or `IGNORE_LABEL`, whose pixels are left out.
      predicted: uint8 of the same shape, 0..C-1.
      num_classes: C.

    Returns:
      int64[C, C]; row = truth, column = prediction.

    Raises:
      ValueError: if the shapes differ or a label is out of range.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"labels {labels.shape} and predictions {predicted.shape} must have one shape")
    counted = labels != IGNORE_LABEL
    if ((np.maximum(labels, predicted) >= num_classes) & counted).any():
        raise ValueError(f"a label is not below the number of classes, {num_classes}")
    if num_classes <= _FEW_CLASSES:
        # A byte holds every pair of labels, and to compare with each takes half of the time of NumPy's bincount.
        pairs = np.maximum(labels * np.uint8(num_classes) + predicted, ~counted * np.uint8(IGNORE_LABEL))
        counts = [np.count_nonzero(pairs == pair) for pair in range(num_classes**2)]
        return np.reshape(counts, (num_classes, num_classes))
    # 16 bits hold every pair of labels below `IGNORE_LABEL`, and a quarter of the memory is a quarter of the time.
    pairs = (labels.astype(np.uint16) * np.uint16(num_classes) + predicted)[counted]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN where nothing was counted."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)[()]


def defined_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is no NaN; NaN where all is."""
    return ratio(np.nansum(values, axis=-1), np.count_nonzero(~np.isnan(values), axis=-1))


def by_class(score: str, values: np.ndarray, class_names: list[str]) -> dict[str, np.ndarray]:
    """float64[..., C] as `<score>/<class>` -> float64[...]."""
    return {f"{score}/{name}": value for name, value in zip(class_names, np.moveaxis(values, -1, 0), strict=True)}


def scores(matrix: np.ndarray, class_names: list[str], background: int) -> dict[str, np.ndarray]:
    """Every score of a confusion matrix, or of each of many.

    Intersection over union and Dice as in Everingham et al. 2010 (PASCAL VOC): per class, over all pixels.

    Args:
      matrix: [..., C, C], row = truth, column = prediction.
      class_names: C names in label order.
      background: the label that `binary_iou` sets against all others.

    Returns:
      `mean_iou`, `iou/<class>`, `dice/<class>`, `pixel_accuracy`, `binary_iou`, each float64[...] in 0..1; numbers of
      one matrix. A class absent from truth and prediction is NaN and left out of the mean.
    """
    matrix = np.asarray(matrix, np.float64)
    hits, truth, guessed = np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2)
    total = truth.sum(axis=-1)
    iou, dice = ratio(hits, truth + guessed - hits), ratio(2 * hits, truth + guessed)
    either = total - hits[..., background]
    foreground_hits = total - truth[..., background] - guessed[..., background] + hits[..., background]
    result = {
        "mean_iou": defined_mean(iou),
        "pixel_accuracy": ratio(hits.sum(axis=-1), total),
        "binary_iou": ratio(foreground_hits, either),
    }
    return result | by_class("iou", iou, class_names) | by_class("dice", dice, class_names)
