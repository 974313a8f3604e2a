"""Two runs side by side."""

import copy

import pytest
from facts_of_a_run import facts, summary
from rich.console import Console

from pipeline.diff import compare_runs, flatten
from pipeline.tables import diff_tables


@pytest.fixture
def pair() -> tuple[dict, dict]:
    first, second = facts("refused"), facts(evaluation=summary(metrics={"mean_iou": 0.65, "iou/pet": 0.75}))
    second = copy.deepcopy(second)
    second["setup"]["config"]["training"] = {"seed": 18, "steps": 100}
    second["setup"]["versions"]["tfx"] = "1.21.0"
    return first, second


def test_only_settings_that_differ_are_named_by_their_path(pair):
    found = compare_runs(*pair)
    assert found["config"] == {"training.seed": [17, 18], "training.steps": [None, 100]}
    assert found["source"] == {"tfx": ["1.16.0", "1.21.0"]}
    assert compare_runs(pair[0], pair[0])["config"] == {}


def test_scores_of_both_stand_side_by_side(pair):
    metrics = compare_runs(*pair)["metrics"]
    assert metrics["mean_iou"] == [0.61, 0.65]
    assert metrics["iou/contour"] == [0.33, None]


def test_a_run_that_kept_no_setup_does_not_differ_in_everything(pair):
    found = compare_runs(pair[0] | {"setup": None}, pair[1])
    assert found["config"] == {"was kept": [False, True]}


def test_a_run_that_got_nowhere_compares_too(pair):
    nothing = pair[0] | {"metrics": None, "evaluation": None, "training": None}
    assert compare_runs(nothing, pair[1])["metrics"]["mean_iou"] == [None, 0.65]


def test_the_tables_show_numbers_with_their_change_and_names_as_they_are(pair):
    pair[1]["setup"]["config"]["[red]"] = "[bold]"
    console = Console(width=200)
    with console.capture() as capture:
        for table in diff_tables(["r1", "r2"], compare_runs(*pair)):
            console.print(table)
    lines = [line.split() for line in capture.get().splitlines()]
    assert ["mean_iou", "0.61", "0.65", "+0.04"] in lines
    assert ["training.seed", "17", "18"] in lines
    assert ["[red]", "-", "[bold]"] in lines


def test_flattened_settings_keep_lists_and_empty_sections():
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [1, {"f": 2}]}) == {"a.b.c": 1, "a.d": {}, "e": [1, {"f": 2}]}
