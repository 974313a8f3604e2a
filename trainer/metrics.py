"""The segmentation metrics for TFMA: every score of `trainer.confusion`, per slice, from two matrices a photo.

At the model's size the labels are those of training. At the photo's own size the probabilities are resized bilinearly
and the mask is the user's own: what a person who overlays the prediction sees, and what the gate uses. The keys of the
former start with `model_size/`.
"""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from trainer.confusion import scores
from trainer.features import MASK, FeatureSpec
from trainer.photo_size import photo_matrices

MODEL_SIZE = "model_size/"
PHOTOS = "photos"
CONFUSION = "confusion/"


class SegmentationMetrics(tfma.metrics.Metric):
    """All segmentation scores as one TFMA metric, so that each photo is compared once.

    Args:
      feature_spec: JSON of a `FeatureSpec`.
      fingerprint: hash of the metric code; it makes TFX evaluate again when that changes.
    """

    def __init__(self, feature_spec: str, fingerprint: str = "", name: str = "segmentation"):
        super().__init__(_computations, name=name, feature_spec=feature_spec, fingerprint=fingerprint)


def _computations(
    feature_spec: str,
    fingerprint: str = "",
    name: str = "segmentation",
    model_names: list[str] | None = None,
    **_: Any,
) -> list[tfma.metrics.MetricComputation]:
    spec = FeatureSpec.model_validate_json(feature_spec)
    return [
        tfma.metrics.MetricComputation(
            keys=[_key(name, model)],
            preprocessors=[PhotoMatrices(spec, model)],
            combiner=SumMatrices(spec, model),
        )
        for model in model_names or [""]
    ]


def _key(name: str, model: str) -> tfma.metrics.MetricKey:
    # TFMA looks thresholds up under keys that say nothing of example weights.
    return tfma.metrics.MetricKey(name, model_name=model, example_weighted=None)


class PhotoMatrices(tfma.metrics.Preprocessor):
    """Turns the extracts of one photo into its two confusion matrices."""

    def __init__(self, spec: FeatureSpec, model: str):
        super().__init__(name=f"photo_matrices:{model}")
        self._spec, self._model = spec, model

    def process(self, extracts: dict[str, Any]) -> Iterable[np.ndarray]:
        """Yields int64[2, C, C]: own size, model size."""
        predictions = extracts[tfma.PREDICTIONS_KEY]
        if self._model:
            predictions = predictions[self._model]
        probabilities = predictions["probabilities"] if isinstance(predictions, dict) else predictions
        mask = np.ravel(extracts[tfma.FEATURES_KEY][MASK])[0]
        yield np.stack(photo_matrices(mask, np.asarray(probabilities, np.float32), self._spec))


class SumMatrices(beam.CombineFn):
    """Adds the matrices of a slice and derives its scores."""

    def __init__(self, spec: FeatureSpec, model: str):
        self._spec, self._model = spec, model

    def create_accumulator(self) -> tuple[np.ndarray, int]:
        classes = self._spec.num_classes
        return np.zeros([2, classes, classes], np.int64), 0

    def add_input(self, accumulator: tuple[np.ndarray, int], element: np.ndarray) -> tuple[np.ndarray, int]:
        return accumulator[0] + element, accumulator[1] + 1

    def merge_accumulators(self, accumulators: Iterable[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
        matrices, photos = zip(*accumulators, strict=True)
        return sum(matrices[1:], matrices[0]), sum(photos)

    def extract_output(self, accumulator: tuple[np.ndarray, int]) -> dict[tfma.metrics.MetricKey, float]:
        matrices, photos = accumulator
        values = {PHOTOS: float(photos)}
        for prefix, matrix in zip(("", MODEL_SIZE), matrices, strict=True):
            found = scores(matrix, self._spec.class_names, self._spec.background_label)
            values |= {prefix + name: value for name, value in found.items()}
        for row, truth in enumerate(self._spec.class_names):
            for column, guess in enumerate(self._spec.class_names):
                values[f"{CONFUSION}{truth}/{guess}"] = float(matrices[0, row, column])
        return {_key(name, self._model): value for name, value in values.items()}
