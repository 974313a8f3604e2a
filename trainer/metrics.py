"""The segmentation metrics for TFMA: every score of `trainer.tally`, per slice, from two tallies a photo.

At the model's size the labels are those of training. At the photo's own size the probabilities are resized bilinearly
and the mask is the user's own: what a person who overlays the prediction sees, and what the gate uses. The keys of the
former start with `model_size/`; those of confidence intervals, for the latter, with `half_width/`. `ranking` is not a
score but the JSON of `trainer.ranking`.
"""

import json
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from trainer.features import FILENAME, MASK, FeatureSpec
from trainer.photo_size import photo_tallies
from trainer.ranking import ranking
from trainer.tally import half_widths, scores_of

MODEL_SIZE = "model_size/"
PHOTOS = "photos"
CONFUSION = "confusion/"
HALF_WIDTH = "half_width/"
RANKING = "ranking"

NamedTallies = tuple[list[str], np.ndarray]
"""File names of n photos, and their tallies, float64[n, 2, C, C + 2]: own size, model size."""


class SegmentationMetrics(tfma.metrics.Metric):
    """All segmentation scores as one TFMA metric, so that each photo is compared once.

    Args:
      feature_spec: JSON of a `FeatureSpec`.
      tolerances: of boundaries, in pixels: at the photo's own size, and at the model's.
      fingerprint: hash of the metric code; it makes TFX evaluate again when that changes.
    """

    def __init__(self, feature_spec: str, tolerances: list[int], fingerprint: str = "", name: str = "segmentation"):
        super().__init__(
            _computations, name=name, feature_spec=feature_spec, tolerances=tolerances, fingerprint=fingerprint
        )


def _computations(
    feature_spec: str,
    tolerances: list[int],
    fingerprint: str = "",
    name: str = "segmentation",
    model_names: list[str] | None = None,
    **_: Any,
) -> list[tfma.metrics.MetricComputation]:
    spec = FeatureSpec.model_validate_json(feature_spec)
    return [
        tfma.metrics.MetricComputation(
            keys=[_key(name, model)],
            preprocessors=[PhotoTallies(spec, model, tolerances)],
            combiner=CollectTallies(spec, model),
        )
        for model in model_names or [""]
    ]


def _key(name: str, model: str) -> tfma.metrics.MetricKey:
    # TFMA looks thresholds up under keys that say nothing of example weights.
    return tfma.metrics.MetricKey(name, model_name=model, example_weighted=None)


class PhotoTallies(tfma.metrics.Preprocessor):
    """Turns the extracts of one photo into its name and its two tallies."""

    def __init__(self, spec: FeatureSpec, model: str, tolerances: list[int]):
        super().__init__(name=f"photo_tallies:{model}")
        self._spec, self._model, self._tolerances = spec, model, tuple(tolerances)

    def process(self, extracts: dict[str, Any]) -> Iterable[NamedTallies]:
        """Yields those of the one photo."""
        predictions = extracts[tfma.PREDICTIONS_KEY]
        if self._model:
            predictions = predictions[self._model]
        probabilities = predictions["probabilities"] if isinstance(predictions, dict) else predictions
        mask, name = (np.ravel(extracts[tfma.FEATURES_KEY][key])[0] for key in (MASK, FILENAME))
        tallies = photo_tallies(mask, np.asarray(probabilities, np.float32), self._spec, self._tolerances)
        yield [name.decode(errors="replace")], tallies[np.newaxis]


class CollectTallies(beam.CombineFn):
    """Collects the tallies of a slice and derives its scores and their intervals.

    The jackknife leaves out one photo at a time, so it needs them all: 16 C (C + 2) bytes a photo, 24 MB for 100,000
    photos of three classes. An accumulator is a list of `NamedTallies`.
    """

    def __init__(self, spec: FeatureSpec, model: str):
        self._spec, self._model = spec, model

    def create_accumulator(self) -> list[NamedTallies]:
        return []

    def add_input(self, accumulator: list[NamedTallies], element: NamedTallies) -> list[NamedTallies]:
        accumulator.append(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[NamedTallies]]) -> list[NamedTallies]:
        return [part for accumulator in accumulators for part in accumulator]

    def compact(self, accumulator: list[NamedTallies]) -> list[NamedTallies]:
        return [self._joined(accumulator)] if accumulator else []

    def _joined(self, accumulator: list[NamedTallies]) -> NamedTallies:
        classes = self._spec.num_classes
        parts = [np.zeros([0, 2, classes, classes + 2]), *(tallies for _, tallies in accumulator)]
        return [name for names, _ in accumulator for name in names], np.concatenate(parts)

    def extract_output(self, accumulator: list[NamedTallies]) -> dict[tfma.metrics.MetricKey, float | str]:
        names, background = self._spec.class_names, self._spec.background_label
        photos, tallies = self._joined(accumulator)
        own, at_model_size = tallies.sum(axis=0)
        values = {PHOTOS: float(len(tallies))}
        values |= scores_of(own, names, background)
        values |= {MODEL_SIZE + name: value for name, value in scores_of(at_model_size, names, background).items()}
        for name, value in half_widths(tallies[:, 0], names, background).items():
            values[HALF_WIDTH + name] = value
        for row, truth in enumerate(names):
            for column, guess in enumerate(names):
                values[f"{CONFUSION}{truth}/{guess}"] = own[row, column]
        found = {_key(name, self._model): float(value) for name, value in values.items()}
        ranked = ranking(photos, tallies[:, 0], names, background)
        return found | {_key(RANKING, self._model): json.dumps(ranked)}
