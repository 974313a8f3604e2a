"""Scores a model on any folder of photos and masks, through the same matrices as the gate."""

import os
from collections.abc import Callable

import numpy as np

from components.errors import UsageError
from components.inference.served_model import ServedModel
from components.ingest.reader import Unreadable, file_bytes, read_pair
from components.ingest.settings import DataSettings
from components.ingest.sources import find_sources
from trainer.confusion import scores
from trainer.photo_size import photo_matrices


def evaluate(
    model: ServedModel, photos: str, masks: str, settings: DataSettings, done: Callable[[int, int], None]
) -> dict:
    """Evaluates at the photos' own size and at the model's.

    Args:
      model: what to score.
      photos, masks: folders; pairs are found by stem.
      settings: limits and orientation, as at ingest.
      done: called with the number of photos finished and of all photos.

    Returns:
      `photos` evaluated; `metrics` and `model_size` (see `trainer.confusion.scores`; None where undefined);
      `confusion_matrix` at the photos' own size, row = truth; `classes`; `skipped`: file -> reason.

    Raises:
      UsageError: if no pair can be evaluated.
    """
    sources = find_sources(photos, masks, split_lists=None, eval_share=settings.eval_share)
    skipped = {os.path.basename(q.file): q.reason for q in sources.quarantined if q.kind == "photo"}
    totals = np.zeros([2, model.spec.num_classes, model.spec.num_classes], np.int64)
    for index, pair in enumerate(sources.pairs):
        try:
            read = read_pair(file_bytes(pair.photo, "photo"), file_bytes(pair.mask, "mask"), model.spec, settings)
        except Unreadable as error:
            skipped[os.path.basename(pair.photo)] = error.reason
        else:
            totals += np.stack(photo_matrices(read.mask, model.probabilities([read.image])[0], model.spec))
        done(index + 1, len(sources.pairs))
    evaluated = sources.photos_found - len(skipped)
    if not evaluated:
        raise UsageError(f"{photos}: no photo could be evaluated ({len(skipped)} skipped); check that the masks match")
    own, at_model_size = (
        {name: None if np.isnan(value) else value for name, value in _scores(model, total).items()} for total in totals
    )
    return {
        "photos": evaluated,
        "metrics": own,
        "model_size": at_model_size,
        "classes": model.spec.class_names,
        "confusion_matrix": totals[0].tolist(),
        "skipped": skipped,
    }


def _scores(model: ServedModel, matrix: np.ndarray) -> dict[str, float]:
    return scores(matrix, model.spec.class_names, model.spec.background_label)
