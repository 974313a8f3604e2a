"""The gate's thresholds as a user writes them."""

import math

import pytest
from pydantic import ValidationError

from components.evaluator.settings import GateSettings, MetricSettings


@pytest.mark.parametrize(
    "min_class_iou, bounds",
    [
        (0.3, {"pet": 0.3, "background": 0.3}),
        ({"pet": 0.4, "background": 0.6}, {"pet": 0.4, "background": 0.6}),
        ({"pet": 0.4}, {"pet": 0.4, "background": 0.0}),
        ({}, {"pet": 0.0, "background": 0.0}),
        (0, {"pet": 0.0, "background": 0.0}),
    ],
)
def test_each_class_has_its_bound(min_class_iou, bounds):
    gate = GateSettings(min_class_iou=min_class_iou)
    assert {name: gate.class_bound(name) for name in bounds} == bounds


@pytest.mark.parametrize(
    "field, value",
    [
        ("min_mean_iou", -0.1),
        ("min_mean_iou", 1.1),
        ("min_class_iou", 1.5),
        ("min_class_iou", {"pet": 0.5, "background": -0.5}),
        ("max_drop", 2),
        ("min_mean_boundary_f1", 1.5),
        ("max_slice_drop", {"breed": -0.1}),
        ("min_photos", 0),
        ("min_iou", 0.5),
    ],
)
def test_what_no_model_can_reach_or_means_nothing_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        GateSettings(**{field: value})


@pytest.mark.parametrize("value", [0, 1])
def test_the_ends_of_the_scale_are_allowed(value):
    gate = GateSettings(min_mean_iou=value, min_class_iou=value, max_drop=value)
    assert (gate.min_mean_iou, gate.class_bound("any"), gate.max_drop) == (value, value, value)


def test_tolerances_are_those_of_the_photos_size_and_the_models():
    assert MetricSettings(boundary_tolerance=7, model_boundary_tolerance=2).tolerances == (7, 2)


def test_the_default_tolerances_are_the_usual_share_of_the_diagonal():
    # 0.75 % of the diagonal (Csurka et al. 2013), of a photo of 375x500 and of the default model.
    own, at_model_size = MetricSettings().tolerances
    assert (own, at_model_size) == (round(0.0075 * math.hypot(375, 500)), round(0.0075 * math.hypot(96, 128)))


@pytest.mark.parametrize("value", [-1, 2.5, 101])
def test_a_tolerance_is_a_small_whole_number_of_pixels(value):
    with pytest.raises(ValidationError, match="boundary_tolerance"):
        MetricSettings(boundary_tolerance=value)
