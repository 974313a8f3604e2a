"""The TFMA config: candidate and baseline, the segmentation metrics, the gate's thresholds and the slices."""

import json

import tensorflow_model_analysis as tfma

from components.evaluator.settings import GateSettings
from trainer.features import FeatureSpec
from trainer.metrics import PHOTOS, SegmentationMetrics

CANDIDATE = "candidate"
BASELINE = "baseline"
SIGNATURE = "from_examples"


def build_eval_config(
    spec: FeatureSpec, gate: GateSettings, slice_keys: list[str], fingerprint: str
) -> tfma.EvalConfig:
    """Builds the config of the Evaluator.

    Args:
      spec: classes and sizes.
      gate: thresholds; those of the baseline are dropped by TFX while there is none.
      slice_keys: features that slice the metrics, one at a time.
      fingerprint: hash of the metric code.
    """
    config = tfma.EvalConfig()
    config.model_specs.add(name=CANDIDATE, signature_name=SIGNATURE)
    config.model_specs.add(name=BASELINE, signature_name=SIGNATURE, is_baseline=True)
    config.slicing_specs.add()
    for key in slice_keys:
        config.slicing_specs.add(feature_keys=[key])
    metrics = config.metrics_specs.add()
    metrics.metrics.add(
        class_name=SegmentationMetrics.__name__,
        module=SegmentationMetrics.__module__,
        config=json.dumps({"feature_spec": spec.model_dump_json(), "fingerprint": fingerprint}),
    )
    bounds = {"mean_iou": gate.min_mean_iou, PHOTOS: float(gate.min_photos)}
    bounds |= {f"iou/{name}": gate.class_bound(name) for name in spec.class_names if gate.class_bound(name)}
    for name, bound in bounds.items():
        threshold = _threshold(metrics, name)
        threshold.value_threshold.lower_bound.value = bound
        if name == "mean_iou":
            threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
            threshold.change_threshold.absolute.value = -gate.max_drop
    for key, bound in gate.min_slice_mean_iou.items():
        _threshold(metrics, "mean_iou", key).value_threshold.lower_bound.value = bound
    return config


def _threshold(metrics: tfma.MetricsSpec, name: str, *slice_keys: str) -> tfma.MetricThreshold:
    """A new threshold on each slice of the keys; without keys on the overall slice alone, and not on every slice."""
    per_slice = metrics.per_slice_thresholds[name].thresholds.add()
    per_slice.slicing_specs.add(feature_keys=slice_keys)
    return per_slice.threshold
