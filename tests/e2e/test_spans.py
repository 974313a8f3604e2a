"""Windows of spans, "nothing new" where there is nothing, and no score on a photo that a model has learnt."""

import json
import shutil
from pathlib import Path

import pytest
from workbench import COMPARES, NODES, OPEN_GATE, Bench, drawn, executed

from components.errors import UsageError
from components.ingest.spans import read_manifest
from pipeline.config import load_config
from pipeline.learnt import baseline_spans
from pipeline.plan import plan
from pipeline.records import newest_run
from pipeline.workspace import Workspace

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Three spans of one kind of photos; a model of the first is blessed."""
    bench = Bench(tmp_path_factory.mktemp("spans"))
    for number in (1, 2, 3):
        bench.ingest(drawn(bench.folder / f"drawn-{number}", seed=16 + number))
        if number == 1:
            assert bench.run_here().spans == [1]
    return bench


@pytest.fixture(scope="module")
def window(bench):
    """What `run --window 3` printed, and its record in `status`."""
    done = bench.segpipe("run", "--window", "3", "--config", bench.config)
    return done, bench.status()["runs"][-1]


def photos(bench, split: str, *spans: int) -> int:
    return sum(read_manifest(str(bench.workspace / "data"), span).examples(split) for span in spans)


def test_all_spans_of_a_window_train_and_the_newest_alone_evaluates(bench, window):
    done, run = window
    assert (run["verdict"], run["spans"], executed(run)) == ("pushed", [1, 2, 3], NODES - {"ImportSchemaGen"})
    blessing = newest_run(str(bench.workspace / "metadata.db")).output("Conservation", "blessing")
    counts = json.loads(blessing.custom_properties["counts"].string_value)
    assert set(counts["train"].values()) == {photos(bench, "train", 1, 2, 3)}
    assert set(counts["eval"].values()) == {photos(bench, "eval", 3)}
    assert run["metrics"]["photos"] == photos(bench, "eval", 3)
    (row,) = [line for line in bench.segpipe("status").stdout.splitlines() if line.startswith(run["run_id"])]
    assert " 1, 2, 3 " in row


def test_the_same_again_trains_nothing_and_says_why(bench, window):
    bench.sections = {"data": {"window": 3}}
    done = bench.segpipe("run", "--config", bench.config)
    run = bench.status()["runs"][-1]
    assert (executed(run) <= COMPARES, run["verdict"], run["spans"]) == (True, "unchanged", [1, 2, 3])
    assert "nothing new; live is version" in done.stdout
    first = window[1]["run_id"]
    assert f"spans 1, 2, 3 trained run {first} with this config and code, so nothing was trained" in done.stdout


def test_a_training_on_known_spans_says_that_the_data_are_not_new(bench, window):
    bench.sections = {"data": {"window": 3}, "training": {"steps": 5, "batch_size": 8, "evaluations": 1}}
    done = bench.segpipe("run", "--config", bench.config)
    assert "pushed version" in done.stdout
    assert "no new data: spans 1, 2, 3 trained run " in done.stdout
    assert "before, and trained again because config or code changed" in done.stdout


def test_a_span_that_is_not_there_is_no_reason_to_train_on_an_older_one(bench, window):
    runs = len(bench.status()["runs"])
    done = bench.segpipe("run", "--span", "9", "--config", bench.config, status=2)
    assert "--span 9: nothing new, that span is not in" in done.stderr and "(spans there: 1, 2, 3)" in done.stderr
    assert len(bench.status()["runs"]) == runs


def test_photos_that_are_in_already_make_no_span(bench, window):
    data = bench.workspace / "data"
    before = sorted(path.name for path in data.iterdir())
    assert "nothing new, the same input is in" in bench.ingest(bench.folder / "drawn-2").stdout
    assert sorted(path.name for path in data.iterdir()) == before


@pytest.fixture(scope="module")
def leaking(bench, window):
    """Makes spans whose evaluation split holds, under another name, a photo that trains in an older span."""

    def ingest(number: int, source: int) -> str:
        folder = drawn(bench.folder / f"drawn-{number}", seed=16 + number)
        if source:
            stem = (bench.folder / f"drawn-{source}/annotations/trainval.txt").read_text().split()[0]
            victim = (folder / "annotations/test.txt").read_text().split()[0]
            for name in ("images/{}.jpg", "annotations/trimaps/{}.png"):
                shutil.copy(bench.folder / f"drawn-{source}" / name.format(stem), folder / name.format(victim))
        bench.ingest(folder, "--span", str(number))
        return f"span {source}: training photo {stem}.jpg is evaluation photo {victim}.jpg of span " if source else ""

    return ingest


def planned(bench):
    return plan(load_config(str(bench.config)), Workspace.at(str(bench.workspace)), None)


def test_a_photo_that_the_blessed_model_has_learnt_evaluates_nothing(bench, leaking):
    bench.sections = {}
    said = leaking(4, source=2)
    runs = len(bench.status()["runs"])
    # The window holds span 4 alone, so it is the blessed model that would flatter.
    done = bench.segpipe("run", "--config", bench.config, status=2)
    assert f"segpipe: the blessed model, which a run compares with, was trained on {said}4" in done.stderr
    assert "ingest again with a split that does not evaluate it\n" in done.stderr
    assert len(bench.status()["runs"]) == runs
    shutil.rmtree(bench.workspace / "data" / "span-4")
    assert planned(bench).window


def test_a_model_that_a_person_blessed_counts_like_any_other(bench, leaking):
    leaking(5, source=0)
    bench.sections = {"gate": OPEN_GATE | {"min_mean_iou": 0.99}}
    assert bench.run_here().verdict == "refused"
    said = leaking(6, source=5)
    assert planned(bench).window, "the refused model of span 5 is no baseline"
    bench.segpipe("bless", "latest", "--reason", "checked by eye")
    with pytest.raises(UsageError, match=f"was trained on {said}6"):
        planned(bench)
    spans = baseline_spans(str(bench.workspace / "metadata.db"))
    assert [span.number for span in spans] == [5]


def test_a_baseline_whose_manifest_is_gone_cannot_be_checked_and_says_what_to_restore(bench, leaking):
    manifest = Path(bench.workspace / "data" / "span-5" / "manifest.json")
    manifest.rename(manifest.with_name("elsewhere.json"))
    try:
        with pytest.raises(UsageError, match=f"{manifest}: is gone or changed since the blessed model was trained"):
            planned(bench)
    finally:
        manifest.with_name("elsewhere.json").rename(manifest)
