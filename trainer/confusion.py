"""Confusion matrices over pixels and every score that follows from one.

matrix = confusion_matrix(labels, predicted, num_classes=3)
scores(matrix, ["pet", "background", "contour"], background=1)["mean_iou"]
"""

import numpy as np

from trainer.features import IGNORE_LABEL


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
    truth, guess = labels[counted].astype(np.int64), predicted[counted].astype(np.int64)
    if truth.size and max(truth.max(), guess.max()) >= num_classes:
        raise ValueError(f"a label is not below the number of classes, {num_classes}")
    return np.bincount(truth * num_classes + guess, minlength=num_classes**2).reshape(num_classes, num_classes)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN where nothing was counted."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def scores(matrix: np.ndarray, class_names: list[str], background: int) -> dict[str, float]:
    """Every score of one confusion matrix.

    Intersection over union and Dice as in Everingham et al. 2010 (PASCAL VOC): per class, over all pixels.

    Args:
      matrix: [C, C], row = truth, column = prediction.
      class_names: C names in label order.
      background: the label that `binary_iou` sets against all others.

    Returns:
      `mean_iou`, `iou/<class>`, `dice/<class>`, `pixel_accuracy`, `binary_iou`, each in 0..1. A class absent from truth
      and prediction is NaN and left out of the mean.
    """
    matrix = np.asarray(matrix, np.float64)
    hits, truth, guessed = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    iou, dice = _ratio(hits, truth + guessed - hits), _ratio(2 * hits, truth + guessed)
    both = matrix[background, background]
    either = matrix.sum() - both
    foreground_hits = either - (truth[background] - both) - (guessed[background] - both)
    defined = iou[~np.isnan(iou)]
    result = {
        "mean_iou": float(defined.mean()) if defined.size else float("nan"),
        "pixel_accuracy": float(_ratio(hits.sum(), matrix.sum())),
        "binary_iou": float(_ratio(foreground_hits, either)),
    }
    for label, name in enumerate(class_names):
        result[f"iou/{name}"] = float(iou[label])
        result[f"dice/{name}"] = float(dice[label])
    return result
