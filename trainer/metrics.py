"""The segmentation metrics for TFMA: every score of `trainer.tally`, per slice, from two tallies a photo.

At the model's size the labels are those of training. At the photo's own size the probabilities are resized bilinearly
and the mask is the user's own: what a person who overlays the prediction sees, and what the gate uses. The keys of the
former start with `model_size/`; those of confidence intervals, for the latter, with `half_width/`.
"""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from trainer.features import MASK, FeatureSpec
from trainer.photo_size import photo_tallies
from trainer.tally import half_widths, scores_of

MODEL_SIZE = "model_size/"
PHOTOS = "photos"
CONFUSION = "confusion/"
HALF_WIDTH = "half_width/"


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
    """Turns the extracts of one photo into its two tallies."""

    def __init__(self, spec: FeatureSpec, model: str, tolerances: list[int]):
        super().__init__(name=f"photo_tallies:{model}")
        self._spec, self._model, self._tolerances = spec, model, tuple(tolerances)

    def process(self, extracts: dict[str, Any]) -> Iterable[np.ndarray]:
        """Yields float64[2, C, C + 2]: own size, model size."""
        predictions = extracts[tfma.PREDICTIONS_KEY]
        if self._model:
            predictions = predictions[self._model]
        probabilities = predictions["probabilities"] if isinstance(predictions, dict) else predictions
        mask = np.ravel(extracts[tfma.FEATURES_KEY][MASK])[0]
        yield photo_tallies(mask, np.asarray(probabilities, np.float32), self._spec, self._tolerances)


class CollectTallies(beam.CombineFn):
    """Collects the tallies of a slice and derives its scores and their intervals.

    The jackknife leaves out one photo at a time, so it needs them all: 16 C (C + 2) bytes a photo, 24 MB for 100,000
    photos of three classes. An accumulator is a list of float64[n, 2, C, C + 2].
    """

    def __init__(self, spec: FeatureSpec, model: str):
        self._spec, self._model = spec, model

    def create_accumulator(self) -> list[np.ndarray]:
        return []

    def add_input(self, accumulator: list[np.ndarray], element: np.ndarray) -> list[np.ndarray]:
        accumulator.append(element[np.newaxis])
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
        return [tallies for accumulator in accumulators for tallies in accumulator]

    def compact(self, accumulator: list[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate(accumulator)] if accumulator else []

    def extract_output(self, accumulator: list[np.ndarray]) -> dict[tfma.metrics.MetricKey, float]:
        names, background = self._spec.class_names, self._spec.background_label
        none = np.zeros([0, 2, len(names), len(names) + 2])
        tallies = np.concatenate([none, *accumulator])
        own, at_model_size = tallies.sum(axis=0)
        values = {PHOTOS: float(len(tallies))}
        values |= scores_of(own, names, background)
        values |= {MODEL_SIZE + name: value for name, value in scores_of(at_model_size, names, background).items()}
        for name, value in half_widths(tallies[:, 0], names, background).items():
            values[HALF_WIDTH + name] = value
        for row, truth in enumerate(names):
            for column, guess in enumerate(names):
                values[f"{CONFUSION}{truth}/{guess}"] = own[row, column]
        return {_key(name, self._model): float(value) for name, value in values.items()}
