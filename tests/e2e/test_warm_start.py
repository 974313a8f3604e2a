"""A warm start begins with the latest blessed model of an earlier training, and trains no more often than without."""

import json

import pytest
from workbench import COMPARES, NODES, TINY, Bench, drawn, executed

from pipeline.learnt import baseline_spans

pytestmark = pytest.mark.e2e

_COMPARES = COMPARES | {"BaseModel"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm-start")
    bench = Bench(folder, {"training": TINY["training"] | {"warm_start": True}})
    bench.ingest(drawn(folder / "first"))
    return bench


@pytest.fixture(scope="module")
def first(bench):
    return bench.segpipe("run", "--config", bench.config), bench.status()["runs"][-1]


@pytest.fixture(scope="module")
def second(bench, first):
    bench.ingest(drawn(bench.folder / "second", seed=18))
    return bench.segpipe("run", "--config", bench.config), bench.status()["runs"][-1]


def _base_model(bench, run) -> str | None:
    description = bench.serving / str(run["version"]) / "assets.extra" / "segpipe.json"
    return json.loads(description.read_text())["base_model"]


def _origin(bench, run) -> str:
    from components.pusher.versions import origin

    return origin(str(bench.serving), run["version"])


def test_the_first_run_has_no_model_to_start_from_and_says_so(bench, first):
    done, run = first
    assert (executed(run), run["verdict"]) == (NODES | {"BaseModel"}, "pushed")
    assert "Trainer: no blessed model to start from: trains from scratch" in done.stderr
    assert _base_model(bench, run) is None


def test_a_new_span_starts_from_the_blessed_model(bench, first, second):
    (done, run), (_, earlier) = second, first
    assert "Trainer" in executed(run) and run["verdict"] == "pushed"
    assert "Trainer: starts from the blessed model" in done.stderr
    assert _base_model(bench, run).startswith(_origin(bench, earlier))


def test_it_has_learnt_the_photos_of_both_spans(bench, second):
    assert {span.number for span in baseline_spans(str(bench.workspace / "metadata.db"))} == {1, 2}


def test_a_run_without_a_change_does_not_train_again_although_its_own_model_is_blessed_now(bench, second):
    _, run = second
    again, third = bench.run(), bench.run()
    assert executed(again) <= _COMPARES
    assert executed(third) <= {"BaseModel", "LatestBlessedModel"}
    assert (again["verdict"], third["verdict"], third["version"]) == ("unchanged", "unchanged", run["version"])


def test_going_back_to_the_older_span_does_not_train_again_either(bench, second):
    assert executed(bench.run("--span", "1")) <= _COMPARES


def test_another_recipe_on_the_same_span_starts_from_the_newest_blessed_model(bench, second):
    _, newest = second
    bench.sections["training"] = bench.sections["training"] | {"seed": 18}
    run = bench.run()
    assert {"Trainer", "ModelCanary"} <= executed(run) <= {"Trainer", "ModelCanary"} | _COMPARES
    assert _base_model(bench, run).startswith(_origin(bench, newest))


def test_a_changed_net_trains_from_scratch_and_says_why(bench, second):
    bench.sections["model"] = {"filters": 8}
    done = bench.segpipe("run", "--config", bench.config)
    (line,) = [line for line in done.stderr.splitlines() if "Trainer:" in line]
    assert "is no start for this training, since it is another net: trains from scratch" in line
    assert _base_model(bench, bench.status()["runs"][-1]) is None
