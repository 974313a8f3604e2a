"""Scores a model on any folder of photos and masks, through the same tallies as the gate."""

import os
from collections.abc import Callable

import numpy as np

from components.errors import UsageError
from components.evaluator.settings import MetricSettings
from components.inference.served_model import ServedModel
from components.ingest.opening import Unreadable, file_bytes
from components.ingest.reader import read_pair
from components.ingest.settings import DataSettings
from components.ingest.sources import find_sources
from trainer.photo_size import photo_tallies
from trainer.tally import half_widths, scores_of


def evaluate(
    model: ServedModel,
    photos: str,
    masks: str,
    settings: DataSettings,
    metrics: MetricSettings,
    done: Callable[[int, int], None],
) -> dict:
    """Evaluates at the photos' own size and at the model's.

    Args:
      model: what to score.
      photos, masks: folders; pairs are found by stem.
      settings: limits and orientation, as at ingest.
      metrics: tolerances.
      done: called with the number of photos finished and of all photos.

    Returns:
      `photos` evaluated; `metrics` and `model_size` (see `trainer.tally.scores_of`; None where undefined);
      `intervals`: half of each of `metrics`' 95 % confidence intervals (see `trainer.tally.half_widths`);
      `confusion_matrix` at the photos' own size, row = truth; `classes`; `skipped`: file -> reason.

    Raises:
      UsageError: if no pair can be evaluated.
    """
    sources = find_sources(photos, masks, split_lists=None, eval_share=settings.eval_share)
    skipped = {os.path.basename(q.file): q.reason for q in sources.quarantined if q.kind == "photo"}
    classes, background = model.spec.class_names, model.spec.background_label
    tallies = []
    for index, pair in enumerate(sources.pairs):
        try:
            read = read_pair(file_bytes(pair.photo, "photo"), file_bytes(pair.mask, "mask"), model.spec, settings)
        except Unreadable as error:
            skipped[os.path.basename(pair.photo)] = error.reason
        else:
            probabilities = model.probabilities([read.image])[0]
            tallies.append(photo_tallies(read.mask, probabilities, model.spec, metrics.tolerances))
        done(index + 1, len(sources.pairs))
    if not tallies:
        raise UsageError(f"{photos}: no photo could be evaluated ({len(skipped)} skipped); check that the masks match")
    own, at_model_size = np.sum(tallies, axis=0)
    return {
        "photos": len(tallies),
        "metrics": _plain(scores_of(own, classes, background)),
        "intervals": _plain(half_widths(np.stack(tallies)[:, 0], classes, background)),
        "model_size": _plain(scores_of(at_model_size, classes, background)),
        "classes": classes,
        "confusion_matrix": own[:, : len(classes)].astype(int).tolist(),
        "skipped": skipped,
    }


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    """Numbers for JSON, which has no NaN."""
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}
