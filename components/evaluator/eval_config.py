"""The TFMA configs: what is measured in which slices, and for the gate the baseline and the thresholds."""

import json

from tensorflow_model_analysis.proto.config_pb2 import EvalConfig, MetricDirection, MetricsSpec, MetricThreshold

from components.evaluator.settings import GateSettings, MetricSettings
from trainer.features import FeatureSpec
from trainer.metrics import PHOTOS, SegmentationMetrics

CANDIDATE = "candidate"
BASELINE = "baseline"
SIGNATURE = "from_examples"


def build_golden_config(
    spec: FeatureSpec, settings: MetricSettings, slice_keys: list[str], fingerprint: str
) -> EvalConfig:
    """Builds the config of an evaluation that decides nothing: one model, no threshold.

    Args:
      spec: classes and sizes.
      settings: tolerances of the metrics.
      slice_keys: features that slice the metrics, one at a time.
      fingerprint: hash of the metric code.
    """
    config = EvalConfig()
    config.model_specs.add(name=CANDIDATE, signature_name=SIGNATURE)
    config.slicing_specs.add()
    for key in slice_keys:
        config.slicing_specs.add(feature_keys=[key])
    options = {"feature_spec": spec.model_dump_json(), "tolerances": settings.tolerances, "fingerprint": fingerprint}
    config.metrics_specs.add().metrics.add(
        class_name=SegmentationMetrics.__name__, module=SegmentationMetrics.__module__, config=json.dumps(options)
    )
    return config


def build_eval_config(
    spec: FeatureSpec, settings: MetricSettings, gate: GateSettings, slice_keys: list[str], fingerprint: str
) -> EvalConfig:
    """Builds the config of the gate: that of the golden set, the baseline and the thresholds.

    Args:
      spec, settings, slice_keys, fingerprint: see `build_golden_config`.
      gate: thresholds; those of the baseline are dropped by TFX while there is none.
    """
    config = build_golden_config(spec, settings, slice_keys, fingerprint)
    config.model_specs.add(name=BASELINE, signature_name=SIGNATURE, is_baseline=True)
    (metrics,) = config.metrics_specs
    bounds = {"mean_iou": gate.min_mean_iou, PHOTOS: float(gate.min_photos)}
    bounds |= {f"iou/{name}": gate.class_bound(name) for name in spec.class_names if gate.class_bound(name)}
    if gate.min_mean_boundary_f1:
        bounds["mean_boundary_f1"] = gate.min_mean_boundary_f1
    for name, bound in bounds.items():
        _threshold(metrics, name).value_threshold.lower_bound.value = bound
    _allow_drop(_threshold(metrics, "mean_iou"), gate.max_drop)
    for key, bound in gate.min_slice_mean_iou.items():
        _threshold(metrics, "mean_iou", key).value_threshold.lower_bound.value = bound
    for key, drop in gate.max_slice_drop.items():
        _allow_drop(_threshold(metrics, "mean_iou", key), drop)
    return config


def _allow_drop(threshold: MetricThreshold, drop: float) -> None:
    threshold.change_threshold.direction = MetricDirection.HIGHER_IS_BETTER
    threshold.change_threshold.absolute.value = -drop


def _threshold(metrics: MetricsSpec, name: str, *slice_keys: str) -> MetricThreshold:
    """A new threshold on each slice of the keys; without keys on the overall slice alone, and not on every slice."""
    per_slice = metrics.per_slice_thresholds[name].thresholds.add()
    per_slice.slicing_specs.add(feature_keys=slice_keys)
    return per_slice.threshold
