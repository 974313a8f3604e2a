"""Refused means not pushed, exit status 3, and the reason said."""

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


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A workspace whose pushed model knows pets a little; trained on drawn photos at a quarter of the usual size."""
    folder = tmp_path_factory.mktemp("gate")
    sections = {
        "features": {"height": 48, "width": 64},
        "model": {"filters": 8},
        "training": {"steps": 80, "batch_size": 16, "evaluations": 1},
    }
    bench = Bench(folder, sections)
    bench.ingest(drawn(folder / "drawn", photos=64))
    run = bench.run()
    assert (run["verdict"], run["metrics"]["iou/pet"] > 0.2) == ("pushed", True), run["metrics"]
    return bench


def _run_background_model(bench, gate):
    """The real DAG with a trainer that exports a model which says background everywhere."""
    from pipeline.config import load_config
    from pipeline.local_runner import run
    from pipeline.records import newest_run
    from pipeline.workspace import Workspace

    bench.sections["gate"] = gate
    workspace = Workspace.at(bench.workspace)
    run(load_config(bench.config), workspace, "local", run_fn="background_model.run_fn")
    return newest_run(workspace.metadata)


def test_an_all_background_model_is_refused_for_its_iou_although_its_accuracy_is_high(pushed):
    before = pushed.versions()
    run = _run_background_model(pushed, {"min_mean_iou": 0.5, "min_class_iou": 0.2, "max_drop": 1.0})
    assert run.summary["metrics"]["pixel_accuracy"] > 0.6
    assert (run.verdict, run.version) == ("refused", None)
    assert any(reason.startswith("iou/pet of all photos is 0.0000") for reason in run.reasons)
    assert pushed.versions() == before


def test_a_model_worse_than_the_blessed_one_is_refused_whatever_the_thresholds(pushed):
    before = pushed.versions()
    run = _run_background_model(pushed, OPEN_GATE | {"max_drop": 0.02})
    assert run.verdict == "refused"
    (reason,) = run.reasons
    assert "under the blessed model's" in reason
    assert pushed.versions() == before


def test_the_refused_model_is_no_baseline(pushed):
    pushed.sections["gate"] = OPEN_GATE | {"max_drop": 0.02}
    run = pushed.run()
    assert run["verdict"] == "unchanged"
    assert run["baseline"]["iou/pet"] > 0.2
