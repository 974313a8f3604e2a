"""What is kept of a compared photo, and the scores and confidence intervals of any set of photos.

A tally is float64[C, C + 2]: the confusion matrix (row = truth), then per class the photo's boundary F1 and whether it
has one. Tallies of photos add up to that of their set; counts are whole and exact up to 2**53.

    tallies = np.stack([tally(labels, predicted, 3, tolerance=5) for labels, predicted in photos])
    names = ["pet", "background", "contour"]
    scores_of(tallies.sum(axis=0), names, background=1)["mean_iou"]         # 0.657
    half_widths(tallies, names, background=1)["mean_iou"]                   # 0.013: 0.657 ± 0.013
"""

import numpy as np
from scipy.special import stdtrit

from trainer.boundary import boundary_f1
from trainer.confusion import by_class, confusion_matrix, defined_mean, ratio, scores

_BLOCK = 4096


def tally(labels: np.ndarray, predicted: np.ndarray, num_classes: int, tolerance: int) -> np.ndarray:
    """Compares truth and prediction of one photo.

    Args:
      labels: uint8[h, w], 0..C-1 or `IGNORE_LABEL`, whose pixels do not count.
      predicted: uint8[h, w], 0..C-1.
      num_classes: C.
      tolerance: of boundaries, in pixels.

    Raises:
      ValueError: if the shapes differ or a label is out of range.
    """
    matrix = confusion_matrix(labels, predicted, num_classes)
    f1 = boundary_f1(labels, predicted, num_classes, tolerance)
    return np.column_stack([matrix, np.nan_to_num(f1), ~np.isnan(f1)]).astype(np.float64)


def scores_of(total: np.ndarray, class_names: list[str], background: int) -> dict[str, np.ndarray]:
    """Every score of a sum of tallies, or of each of many sums.

    Args:
      total: float64[..., C, C + 2].
      class_names, background: see `trainer.confusion.scores`.

    Returns:
      Those of `trainer.confusion.scores`; `boundary_f1/<class>`, the mean over the photos that have a boundary of the
      class in truth or prediction; and `mean_boundary_f1`, the mean of these over classes. NaN where undefined.
    """
    classes = len(class_names)
    result = scores(total[..., :classes], class_names, background)
    f1 = ratio(total[..., classes], total[..., classes + 1])
    result["mean_boundary_f1"] = defined_mean(f1)
    return result | by_class("boundary_f1", f1, class_names)


def half_widths(tallies: np.ndarray, class_names: list[str], background: int) -> dict[str, float]:
    """Half the width of each score's 95 % confidence interval, by the jackknife over photos.

    With s_i the score of all photos but the i-th and s their mean, the standard error is
    sqrt((n - 1) / n * sum((s_i - s)**2)) (Efron and Tibshirani 1993, An Introduction to the Bootstrap, equation 11.5),
    and the half width is Student's t at 0.975 with n - 1 degrees of freedom times that (Tukey 1958). It says how much
    the score would differ on other photos of the same kind, not how much it would after another training.

    Args:
      tallies: float64[N, C, C + 2], one photo each.
      class_names, background: see `trainer.confusion.scores`.

    Returns:
      score name -> half width; NaN with fewer than two photos and where the score hangs on a single photo.
    """
    photos, total = len(tallies), tallies.sum(axis=0)
    if photos < 2:
        return dict.fromkeys(scores_of(total, class_names, background), float("nan"))
    blocks = [
        scores_of(total - tallies[start : start + _BLOCK], class_names, background)
        for start in range(0, photos, _BLOCK)
    ]
    quantile = stdtrit(photos - 1, 0.975)
    left_out = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return {name: float(quantile * np.sqrt((photos - 1) * values.var())) for name, values in left_out.items()}
