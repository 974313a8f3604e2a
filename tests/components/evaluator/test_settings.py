"""The gate's thresholds as a user writes them."""

import pytest
from pydantic import ValidationError

from components.evaluator.settings import GateSettings


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
