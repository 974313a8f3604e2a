"""Geometry of the line charts."""

import pytest

from components.run_report.charts import axis, curve_chart, history_chart, line


@pytest.mark.parametrize("values", [[0.3, 0.61], [5], [0, 1014], [1e-9, 2e-9], [-3, 7]])
def test_an_axis_holds_its_values_between_round_ends(values):
    scale = axis(values, str)
    assert scale.low <= min(values) and max(values) <= scale.high and scale.low < scale.high
    assert [place for place, _ in scale.ticks][0] == 0 and [place for place, _ in scale.ticks][-1] == 100
    assert all(0 <= scale.percent(value) <= 100 for value in values)


def test_a_line_runs_from_the_left_and_upwards():
    scale = axis([0, 10], str)
    assert line([(0, 0), (5, 5), (10, 10)], scale, scale) == "0.0,100.0 50.0,50.0 100.0,0.0"


def test_a_learning_curve_of_one_point_is_a_chart():
    chart = curve_chart([{"step": 4, "loss": 1.5}], "loss", "Loss")
    assert chart["summary"] == "Loss over 4 steps: from 1.500 to 1.500"
    assert 0 < chart["last"][0] <= 100


def run(score: float, half: float | None, name: str = "r") -> dict:
    return {"run_id": name, "verdict": "pushed", "mean_iou": score, "half_width": half}


def test_the_history_places_runs_in_order_with_their_intervals():
    chart = history_chart([run(0.4, 0.1), run(0.6, None), run(0.5, 0.05)])
    x = [point["x"] for point in chart["points"]]
    assert x == sorted(x) and x[0] > 0 and x[-1] < 100
    first, second, third = chart["points"]
    assert first["y"] > third["y"] > second["y"], "a higher score lies higher up"
    assert first["top"] < first["y"] < first["top"] + first["height"]
    assert second["height"] == 0
    assert len(history_chart([run(0.5, 0.1)])["points"]) == 1
