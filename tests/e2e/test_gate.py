"""Refused means not pushed, exit status 3, and the reason said; accepted means pushed. All with models that trained."""

import shutil

import pytest
from workbench import OPEN_GATE, Bench, drawn

pytestmark = pytest.mark.e2e


def test_a_model_under_the_thresholds_is_refused_with_status_3(tmp_path):
    bench = Bench(tmp_path, {"gate": {"min_mean_iou": 0.5, "min_class_iou": {"contour": 0.2}}})
    bench.ingest(drawn(tmp_path / "drawn"))
    done = bench.segpipe("run", "--config", bench.config, status=3)
    assert "refused, nothing is pushed: mean_iou of all photos is 0." in done.stderr
    assert "under the threshold 0.5" in done.stderr
    assert "Traceback" not in done.stderr
    assert bench.versions() == []
    # A refusal stays one when nothing changed, also where every node comes from the cache.
    again = bench.run(status=3)
    assert (again["verdict"], again["nodes"]["Trainer"]["state"]) == ("refused", "cached")


RECIPE = {"steps": 80, "batch_size": 16, "evaluations": 1}
STRICT = OPEN_GATE | {"max_drop": 0.02}
"""No threshold on values, so that the comparison with the blessed model alone decides."""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A workspace whose pushed model knows pets a little; trained on drawn photos at a quarter of the usual size."""
    folder = tmp_path_factory.mktemp("gate")
    sections = {"features": {"height": 48, "width": 64}, "model": {"filters": 8}, "training": RECIPE}
    bench = Bench(folder, sections)
    bench.ingest(drawn(folder / "drawn", photos=64))
    run = bench.run()
    assert (run["verdict"], run["metrics"]["iou/pet"] > 0.2) == ("pushed", True), run["metrics"]
    return bench


def judged(bench, gate, run_fn="trainer.train.run_fn", **training):
    """The run of a model under a gate, and the versions that it added."""
    bench.sections |= {"gate": gate, "training": RECIPE | training}
    before = bench.versions()
    run = bench.run_here(run_fn)
    return run, [version for version in bench.versions() if version not in before]


def test_an_all_background_model_is_refused_for_its_iou_although_its_accuracy_is_high(pushed):
    gate = {"min_mean_iou": 0.5, "min_class_iou": 0.2, "max_drop": 1.0}
    run, added = judged(pushed, gate, "background_model.run_fn")
    assert run.summary["metrics"]["pixel_accuracy"] > 0.6
    assert (run.verdict, run.version, added) == ("refused", None, [])
    assert any(reason.startswith("iou/pet of all photos is 0.0000") for reason in run.reasons)


@pytest.mark.parametrize("run_fn", ["background_model.run_fn", "shuffled_model.run_fn"])
def test_a_model_worse_than_the_blessed_one_is_refused_whatever_the_thresholds(pushed, run_fn):
    run, added = judged(pushed, STRICT, run_fn)
    assert (run.verdict, added) == ("refused", [])
    (reason,) = run.reasons
    assert reason.startswith("mean_iou of all photos is 0.") and "under the blessed model's" in reason


def test_the_refused_model_is_no_baseline(pushed):
    run, added = judged(pushed, STRICT)
    assert (run.verdict, added) == ("unchanged", [])
    assert run.summary["baseline"]["iou/pet"] > 0.2


def test_one_bad_slice_is_refused_and_named_although_the_whole_is_good_enough(pushed):
    slices = pushed.status()["runs"][0]["slices"]
    found = {name: scores["mean_iou"] for name, scores in slices.items() if name.startswith("breed=")}
    worst, second = sorted(found, key=found.get)[:2]
    run, added = judged(pushed, OPEN_GATE | {"min_slice_mean_iou": {"breed": (found[worst] + found[second]) / 2}})
    assert (run.verdict, added) == ("refused", [])
    (reason,) = run.reasons
    assert reason.startswith(f"mean_iou of {worst} is {found[worst]:.4f}, under the threshold")


@pytest.fixture(scope="module")
def better(pushed):
    """The run of a model that trained longer, and the versions it added; from here on it is the blessed one."""
    return judged(pushed, OPEN_GATE | {"max_drop": 0.0}, steps=240)


def gain(run) -> float:
    return run.summary["metrics"]["mean_iou"] - run.summary["baseline"]["mean_iou"]


def test_a_better_model_is_accepted_where_no_drop_is_allowed(better):
    run, added = better
    assert gain(run) > 0.02
    assert (run.verdict, [str(run.version)]) == ("pushed", added)


@pytest.mark.parametrize("tolerance, verdict", [(0.9, "refused"), (1.1, "pushed")], ids=["beyond", "within"])
def test_a_model_may_be_worse_than_the_blessed_one_within_the_tolerance(pushed, better, tolerance, verdict):
    # The model of the shorter training once more; how much worse it is, is known from when the better one replaced it.
    drop = gain(better[0])
    run, added = judged(pushed, OPEN_GATE | {"max_drop": tolerance * drop})
    assert gain(run) == pytest.approx(-drop)
    assert (run.verdict, len(added)) == (verdict, int(verdict == "pushed"))


def test_without_the_files_of_the_blessed_model_thresholds_decide_and_everyone_is_told(pushed):
    shutil.rmtree(pushed.workspace / "pipeline_root" / "Trainer" / "model")
    pushed.sections |= {"gate": OPEN_GATE | {"max_drop": 0.0}, "training": RECIPE | {"steps": 10}}
    done = pushed.segpipe("run", "--config", pushed.config)
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    sentence = told.removeprefix("warning: ")
    assert sentence.startswith(f"the baseline at {pushed.workspace}/pipeline_root/Trainer/model/")
    assert sentence.endswith("Format-Serving is gone, so nothing was compared and only the value thresholds decided")
    run = pushed.status()["runs"][-1]
    assert (run["verdict"], run["baseline"], run["lost_baseline"]) == ("pushed", None, sentence)
    assert "only the value thresholds decided" in pushed.segpipe("status", "--last", "1").stdout
    (log,) = [line.removeprefix("log ").strip() for line in done.stdout.splitlines() if line.startswith("log ")]
    with open(log, encoding="utf-8", errors="replace") as file:
        assert sentence in file.read()

    # Its own files are whole, so the next run compares again.
    run, _ = judged(pushed, {"min_mean_iou": 0.9, "min_class_iou": 0.0, "max_drop": 1.0}, steps=10)
    assert (run.verdict, run.summary["lost_baseline"]) == ("refused", None)
    assert run.summary["baseline"]["mean_iou"] == run.summary["metrics"]["mean_iou"]
