"""A golden span is measured in every run, from the cache where nothing changed, and decides nothing."""

import json

import pytest
from workbench import COMPARES, NODES, OPEN_GATE, Bench, drawn, executed

pytestmark = pytest.mark.e2e

_GOLDEN = {"GoldenExamples", "GoldenEvaluator"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The golden span is the newer one, so that it would be the newest."""
    bench = Bench(tmp_path_factory.mktemp("golden"), {"data": {"golden_span": 2}})
    for number, seed in ((1, 17), (2, 18)):
        bench.ingest(drawn(bench.folder / f"drawn-{number}", seed=seed))
    return bench


@pytest.fixture(scope="module")
def first(bench):
    """What the first run printed, and its record."""
    done = bench.segpipe("run", "--config", bench.config)
    return done.stdout, bench.status()["runs"][-1]


@pytest.fixture(scope="module")
def refused(bench, first):
    """The record of a second model that the gate refused."""
    bench.sections |= {
        "training": {"steps": 6, "batch_size": 8, "evaluations": 1},
        "gate": OPEN_GATE | {"min_mean_iou": 1.0},
    }
    return bench.run(status=3)


def test_the_scores_on_all_photos_of_the_golden_span_are_told_everywhere(bench, first):
    printed, run = first
    assert (executed(run), run["verdict"]) == (NODES | _GOLDEN, "pushed")
    golden = run["golden"]
    assert (golden["span"], golden["metrics"]["photos"]) == (2, 32.0)
    assert run["metrics"]["photos"] < 32
    assert "on golden span 2" in printed
    assert f"{golden['metrics']['mean_iou']:.3f} ± {golden['intervals']['mean_iou']:.3f}" in printed
    assert f"{run['metrics']['mean_iou']:.3f} ± {run['intervals']['mean_iou']:.3f}" in printed
    (report,) = (bench.workspace / "reports").iterdir()
    assert json.loads((report / "report.json").read_text())["golden"] == golden
    assert "golden" in bench.segpipe("status").stdout


def test_they_are_those_that_segpipe_evaluate_finds(bench, first):
    dataset = bench.folder / "drawn-2"
    folders = ("--images", dataset / "images", "--masks", dataset / "annotations" / "trimaps")
    shown = json.loads(bench.segpipe("evaluate", *folders, "--config", bench.config).stdout)
    golden = first[1]["golden"]
    # TFMA asks for other batches, and a last bit may turn a pixel that two classes tie for.
    assert {name: golden["metrics"][name] for name in shown["metrics"]} == pytest.approx(shown["metrics"], abs=1e-3)
    assert golden["intervals"] == pytest.approx(shown["intervals"], abs=1e-3)


def test_an_unchanged_run_takes_them_from_the_cache(bench, first):
    run = bench.run()
    assert executed(run) <= COMPARES
    assert run["golden"] == first[1]["golden"]


def test_a_refused_model_is_measured_too(first, refused):
    assert executed(refused) >= {"Trainer", "GoldenEvaluator"}
    assert "GoldenExamples" not in executed(refused)
    assert refused["golden"]["metrics"]["photos"] == 32.0
    assert refused["golden"]["metrics"] != first[1]["golden"]["metrics"]


def test_what_was_only_measured_there_never_becomes_the_baseline(bench, first, refused):
    from pipeline.records import list_runs

    again = bench.run(status=3)
    assert executed(again) <= {"LatestBlessedModel"}
    runs = {run.run_id: run for run in list_runs(str(bench.workspace / "metadata.db"))}
    blessed = runs[first[1]["run_id"]].output("Trainer", "model").uri
    for record in (refused, again):
        run = runs[record["run_id"]]
        blessing = run.output("SegmentationEvaluator", "blessing")
        assert blessing.custom_properties["baseline_model"].string_value == blessed
        assert "blessing" not in run.nodes["GoldenEvaluator"].outputs, "none that could count"
