"""What the gate looked at, beside what it asks."""

import pytest
from facts_of_a_run import summary

from components.evaluator.settings import GateSettings
from components.run_report.gate import gate_rows


def rows(gate: dict, **changes) -> dict[str, tuple]:
    found = gate_rows(GateSettings(**gate), summary(**changes))
    return {row["setting"]: (row["what"], row["value"], row["bound"], row["passed"]) for row in found}


def test_bounds_of_nought_are_no_bounds_and_are_left_out():
    found = rows({"min_class_iou": 0.0})
    assert found.keys() == {"gate.min_mean_iou", "gate.min_photos", "gate.max_drop"}
    assert found["gate.min_mean_iou"] == ("Mean IoU", 0.61, 0.5, True)
    assert found["gate.min_photos"] == ("Evaluation photos", 178.0, 1, True)


@pytest.mark.parametrize("bound, passed", [(0.7, True), (0.70001, False)])
def test_a_value_on_its_bound_passes(bound, passed):
    assert rows({"min_class_iou": {"pet": bound}})["gate.min_class_iou"][-1] is passed


def test_a_drop_is_a_change_against_the_blessed_model():
    what, change, bound, passed = rows({"max_drop": 0.05}, baseline={"mean_iou": 0.7})["gate.max_drop"]
    assert (change, bound, passed) == (pytest.approx(-0.09), -0.05, False)
    assert "gate.max_drop" not in rows({}, baseline=None)


def test_of_the_slices_of_a_key_the_worst_is_shown():
    was = {"breed=b000": {"mean_iou": 0.95}, "breed=b001": {"mean_iou": 0.89}, "breed=gone": {"mean_iou": 1.0}}
    found = rows({"min_slice_mean_iou": {"breed": 0.9}, "max_slice_drop": {"breed": 0.03}}, baseline_slices=was)
    assert found["gate.min_slice_mean_iou.breed"] == (
        "Mean IoU of breed=b001, the worst of 2", pytest.approx(0.898), 0.9, False,
    )  # fmt: skip
    what, change, *_, passed = found["gate.max_slice_drop.breed"]
    assert what == "Mean IoU against the blessed model of breed=b000, the worst of 2"
    assert (change, passed) == (pytest.approx(-0.05), False)


def test_what_is_undefined_has_not_passed():
    found = rows({"min_slice_mean_iou": {"species": 0.1}}, metrics={"mean_iou": None, "photos": 3.0}, baseline=None)
    assert found["gate.min_mean_iou"][1:] == (None, 0.5, False)
    assert found["gate.min_slice_mean_iou.species"] == ("Mean IoU: no photo has a species", None, 0.1, False)
