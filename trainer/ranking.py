"""Which photos of an evaluation are worth a look: the worst, the median and the best by mean IoU.

    ranking(["a.jpg", ...], tallies, ["pet", "background", "contour"], background=1)["worst"][0]
    # {"photo": "a.jpg", "mean_iou": 0.31}

It is of one size however many photos there are, so that it fits into the record of a run.
"""

import numpy as np

from trainer.tally import scores_of

SHOWN = {"worst": 6, "median": 3, "best": 3}
"""How many photos of each kind are named."""

BINS = 20
"""Of the histogram over 0..1."""


def ranking(photos: list[str], tallies: np.ndarray, class_names: list[str], background: int) -> dict:
    """Ranks the photos of a set.

    Args:
      photos: their file names.
      tallies: float64[N, C, C + 2], see `trainer.tally`.
      class_names, background: see `trainer.confusion.scores`.

    Returns:
      `worst` (worst first), `median` and `best` (best first): lists of `photo` and `mean_iou`, no photo in two of them;
      `histogram`: photos per bin of mean IoU, int[BINS]. A photo in which nothing counts is left out.
    """
    scores = scores_of(tallies, class_names, background)["mean_iou"] if photos else np.zeros(0)
    ranked = sorted((float(score), photo) for score, photo in zip(scores, photos, strict=True) if not np.isnan(score))
    worst, rest = _split(ranked, SHOWN["worst"] if len(ranked) >= sum(SHOWN.values()) else (len(ranked) + 1) // 2)
    best, rest = _split(rest[::-1], SHOWN["best"])
    middle = max(0, (len(ranked) // 2) - len(worst) - SHOWN["median"] // 2)
    median = rest[::-1][middle : middle + SHOWN["median"]]
    histogram, _ = np.histogram([score for score, _ in ranked], bins=BINS, range=(0, 1))
    chosen = {"worst": worst, "median": median, "best": best}
    named = {kind: [{"photo": p, "mean_iou": score} for score, p in pairs] for kind, pairs in chosen.items()}
    return named | {"histogram": histogram.tolist()}


def _split(values: list, count: int) -> tuple[list, list]:
    return values[:count], values[count:]
