"""The two main jobs at full size: what `make run` and `make run DATA=...` promise."""

import pytest
from drawing import SAMPLE, needs_sample
from workbench import NODES, REPOSITORY, Bench, drawn, executed

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_drawn_dataset_is_learnt_in_a_minute(tmp_path):
    bench = Bench(tmp_path)
    bench.ingest(drawn(tmp_path / "drawn", photos=240))
    bench.segpipe("run", "--config", REPOSITORY / "configs" / "drawn.yaml", status=0)
    run = bench.status()["runs"][-1]
    assert (executed(run), run["verdict"]) == (NODES, "pushed")
    assert run["metrics"]["mean_iou"] > 0.6


@needs_sample
def test_the_default_budget_is_enough_for_real_photos(tmp_path):
    bench = Bench(tmp_path)
    done = bench.ingest(SAMPLE)
    assert "480 photos found = 478 ingested (300 train + 178 eval) + 2 quarantined" in done.stdout
    bench.segpipe("run")
    run = bench.status()["runs"][-1]
    assert run["verdict"] == "pushed"
    assert run["metrics"]["photos"] == 178
    assert run["metrics"]["mean_iou"] >= 0.60
    scored = bench.segpipe("evaluate", "--images", SAMPLE / "images", "--masks", SAMPLE / "annotations" / "trimaps")
    assert '"photos": 480' in scored.stdout, "the GIF and the PNG named .jpg are read as well"
