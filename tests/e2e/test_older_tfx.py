"""A workspace that TFX 1.16 made opens under TFX 1.21: what it knows is read, and the live model is the baseline."""

import json
import os
from pathlib import Path

import pytest
from older_workspace import OLDER, STATUS
from workbench import Bench, executed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(OLDER not in os.environ, reason="needs a workspace of TFX 1.16, which make test-next hands in"),
]


@pytest.fixture(scope="module")
def bench():
    return Bench(Path(os.environ[OLDER]))


@pytest.fixture(scope="module")
def before(bench):
    return json.loads((bench.folder / STATUS).read_text())


def test_status_says_what_it_said(bench, before):
    assert bench.status() == before


def test_a_new_model_is_compared_with_the_live_one_and_takes_its_place(bench, before):
    bench.sections = {"training": {"steps": 5, "batch_size": 8, "evaluations": 1}}
    run = bench.run()
    assert {"Trainer", "SegmentationEvaluator"} <= executed(run)
    assert run["baseline"]["mean_iou"] == pytest.approx(before["runs"][-1]["metrics"]["mean_iou"], abs=1e-3)
    assert (run["verdict"], len(bench.versions())) == ("pushed", 2)
    assert [earlier["verdict"] for earlier in bench.status()["runs"]] == ["pushed", "pushed"]


def test_the_model_of_then_goes_live_again_and_predicts(bench, before):
    bench.segpipe("rollback", "--reason", "the model of TFX 1.16 again")
    photo = next((bench.folder / "drawn" / "images").glob("*.jpg"))
    bench.segpipe("predict", photo, "--output", bench.folder / "predictions")
    assert list((bench.folder / "predictions").iterdir())
