"""The TFMA config, judged by TFMA's own validator: what passes, what is refused, and in which slices."""

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig

from components.evaluator.eval_config import BASELINE, CANDIDATE, build_eval_config, build_golden_config
from components.evaluator.settings import GateSettings, MetricSettings
from trainer.features import ClassSpec, FeatureSpec
from trainer.metrics import SegmentationMetrics

GATE = GateSettings(min_mean_iou=0.5, min_class_iou={"pet": 0.4, "contour": 0.1}, max_drop=0.02, min_photos=20)
GOOD = {"mean_iou": 0.6, "photos": 20.0, "iou/pet": 0.5, "iou/background": 0.7, "iou/contour": 0.2}
OVERALL, PUGS = (), (("breed", "pug"),)


def config(
    gate: GateSettings = GATE, slice_keys=("breed", "species"), fingerprint: str = "f00d", tolerance: int = 5
) -> EvalConfig:
    settings = MetricSettings(boundary_tolerance=tolerance)
    return build_eval_config(FeatureSpec(), settings, gate, list(slice_keys), fingerprint)


def failures(
    metrics: dict[str, float], slice_key: tuple = OVERALL, drop: float | None = None, gate: GateSettings = GATE
) -> list[str]:
    """Which scores of a candidate TFMA refuses.

    Args:
      metrics: of the candidate.
      slice_key: where they were measured.
      drop: how much its mean IoU lies under the blessed model's; None where no model is blessed yet.
      gate: thresholds.
    """
    # TFX's Evaluator completes the config so, and drops the baseline and what compares with it while there is none.
    complete = tfma.utils.update_eval_config_with_defaults(
        config(gate), has_baseline=drop is not None, rubber_stamp=True
    )
    keyed = {}
    for name, value in metrics.items():
        model = complete.model_specs[0].name
        keyed[tfma.metrics.MetricKey(name, model_name=model, example_weighted=None)] = value
    if drop is not None:
        key = tfma.metrics.MetricKey("mean_iou", model_name=CANDIDATE, example_weighted=None)
        keyed[key.make_diff_key()] = -drop
        for name in metrics:
            keyed[tfma.metrics.MetricKey(name, model_name=BASELINE, example_weighted=None)] = 0.0
    result = metrics_validator.validate_metrics((slice_key, keyed), complete)
    return [failure.metric_key.name for record in result.metric_validations_per_slice for failure in record.failures]


@pytest.mark.parametrize(
    "change, refused",
    [
        ({}, []),
        ({"mean_iou": 0.5, "iou/pet": 0.4, "iou/contour": 0.1}, []),
        ({"mean_iou": 0.499}, ["mean_iou"]),
        ({"iou/pet": 0.399}, ["iou/pet"]),
        ({"iou/contour": 0.099}, ["iou/contour"]),
        ({"iou/background": 0.0}, []),
        ({"photos": 19.0}, ["photos"]),
        ({"mean_iou": 0.1, "iou/pet": 0.1}, ["iou/pet", "mean_iou"]),
    ],
    ids=["good", "just enough", "mean", "pet", "contour", "no bound on background", "too few photos", "two reasons"],
)
@pytest.mark.parametrize("drop", [None, 0.0], ids=["first model", "later model"])
def test_the_overall_scores_must_reach_their_bounds(change, refused, drop):
    assert sorted(failures(GOOD | change, drop=drop)) == refused


@pytest.mark.parametrize("slice_key", [PUGS, (("species", "dog"),)])
def test_a_slice_is_measured_but_never_refuses(slice_key):
    # One photo of a rare breed says little; a bound on every slice would refuse almost every model.
    awful = dict.fromkeys(GOOD, 0.0)
    assert failures(awful, slice_key, drop=0.9) == failures(awful, slice_key) == []
    assert failures(awful, OVERALL)


@pytest.mark.parametrize(
    "drop, refused", [(-0.3, []), (0.0, []), (0.019, []), (0.021, ["mean_iou"]), (0.5, ["mean_iou"])]
)
def test_mean_iou_may_drop_a_little_under_the_blessed_model(drop, refused):
    assert failures(GOOD, drop=drop) == refused


SLICED = GATE.model_copy(
    update={"min_slice_mean_iou": {"breed": 0.3}, "max_slice_drop": {"breed": 0.1, "species": 0.4}}
)


@pytest.mark.parametrize(
    "slice_key, mean_iou, drop, refused",
    [
        (PUGS, 0.3, 0.099, []),
        (PUGS, 0.29, 0.0, ["mean_iou"]),
        (PUGS, 0.9, 0.101, ["mean_iou"]),
        (PUGS, 0.29, 0.101, ["mean_iou", "mean_iou"]),
        ((("species", "dog"),), 0.0, 0.399, []),
        ((("species", "dog"),), 0.9, 0.401, ["mean_iou"]),
        # The slices' bounds are not those of all photos.
        (OVERALL, 0.6, 0.015, []),
    ],
)
def test_each_slice_key_has_its_own_bound_and_its_own_drop(slice_key, mean_iou, drop, refused):
    assert failures(GOOD | {"mean_iou": mean_iou}, slice_key, drop, SLICED) == refused


def test_without_a_blessed_model_a_slice_has_its_bound_alone():
    assert failures(GOOD | {"mean_iou": 0.31}, PUGS, None, SLICED) == []
    assert failures(GOOD | {"mean_iou": 0.29}, PUGS, None, SLICED) == ["mean_iou"]


def test_a_class_without_a_bound_may_be_absent_from_the_evaluation():
    # IoU of a class that is in no mask and no prediction is undefined; no bound was set, so nothing was missed.
    assert failures(GOOD | {"iou/background": float("nan")}) == []


def test_the_metric_is_the_one_of_the_trainer_and_knows_the_classes():
    complete = tfma.utils.update_eval_config_with_defaults(config(), has_baseline=False, rubber_stamp=True)
    computations = metric_specs.to_computations(complete.metrics_specs, eval_config=complete)
    combined = [c.combiner for c in computations if c.combiner is not None]
    names = {key.name for combiner in combined for key in combiner.extract_output(combiner.create_accumulator())}
    assert {"mean_iou", "photos", "iou/pet", "iou/background", "iou/contour", "model_size/mean_iou"} <= names


def test_metrics_are_sliced_by_one_key_at_a_time_and_overall():
    assert [list(spec.feature_keys) for spec in config().slicing_specs] == [[], ["breed"], ["species"]]
    assert [list(spec.feature_keys) for spec in config(slice_keys=()).slicing_specs] == [[]]


def test_candidate_and_baseline_are_asked_through_the_same_signature():
    asked = [(spec.name, spec.is_baseline, spec.signature_name) for spec in config().model_specs]
    assert asked == [(CANDIDATE, False, "from_examples"), (BASELINE, True, "from_examples")]


@pytest.mark.parametrize(
    "other",
    [
        config(fingerprint="beef"),
        config(gate=GateSettings()),
        config(slice_keys=["breed"]),
        config(tolerance=4),
        build_eval_config(
            FeatureSpec(classes=(ClassSpec(name="pet", values=(1, 3)), ClassSpec(name="background", values=(2,)))),
            MetricSettings(),
            GATE,
            ["breed", "species"],
            "f00d",
        ),
    ],
    ids=["metric code", "thresholds", "slices", "tolerance", "classes"],
)
def test_a_change_of_anything_that_decides_makes_tfx_evaluate_again(other):
    # TFX keys the Evaluator's cache by the text of this config.
    assert config() == config()
    assert other != config()


def test_the_golden_set_is_measured_the_same_way_and_decides_nothing():
    golden = build_golden_config(FeatureSpec(), MetricSettings(), ["breed", "species"], "f00d")
    gated = config()
    assert golden.metrics_specs[0].metrics == gated.metrics_specs[0].metrics
    assert golden.slicing_specs == gated.slicing_specs
    assert [spec.name for spec in golden.model_specs] == [CANDIDATE]
    assert not metric_specs.metric_thresholds_from_metrics_specs(golden.metrics_specs, eval_config=golden)


def test_the_metric_is_found_by_its_name():
    metric = config().metrics_specs[0].metrics[0]
    assert (metric.module, metric.class_name) == (SegmentationMetrics.__module__, SegmentationMetrics.__name__)
