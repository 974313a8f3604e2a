"""A search with the default space and budget, and a run that takes what it found."""

import json

import pytest
import yaml
from workbench import Bench, drawn, executed

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("tune"))
    bench.ingest(drawn(bench.folder / "drawn"))
    refused = bench.segpipe("run", "--tuned", "--config", bench.config, status=2)
    assert "tuned.yaml does not exist; run segpipe tune" in refused.stderr
    return bench


def test_a_search_finds_values_and_a_tuned_run_trains_with_them(bench):
    done = bench.segpipe("tune", "--config", bench.config)
    trials = done.stdout.splitlines()
    assert trials[0].split() == ["trial", "mean_iou", "training.learning_rate", "training.dice_weight"]
    scores = [float(line.split()[1]) for line in trials[1:5]]
    assert scores == sorted(scores, reverse=True)
    (search,) = bench.status()["runs"]
    assert search["verdict"] == "tuned"
    best = yaml.safe_load((bench.workspace / "tuned.yaml").read_text())["training"]
    assert 1e-3 <= best["learning_rate"] <= 1e-2 and best["dice_weight"] in (0.25, 0.5, 1.0)

    ran = bench.segpipe("run", "--tuned", "--config", bench.config)
    assert f"tuned: training.learning_rate {best['learning_rate']:.4g} (the config says 0.003)" in ran.stdout
    run = bench.status()["runs"][-1]
    assert run["verdict"] == "pushed"
    assert {"SpanExampleGen", "StatisticsGen", "Transform"}.isdisjoint(executed(run)), "the search left them cached"
    (curve,) = bench.workspace.glob("pipeline_root/Trainer/model_run/*/learning_curve.json")
    # The last of four steps of a cosine; its height is the peak's.
    (point,) = json.loads(curve.read_text())["curve"]
    untuned = 0.003
    assert point["learning_rate"] / best["learning_rate"] == pytest.approx(_last_rate(untuned) / untuned)


def _last_rate(peak: float) -> float:
    from trainer.loop import learning_rate
    from trainer.settings import TrainingSettings

    return learning_rate(3, 4, TrainingSettings(steps=4, learning_rate=peak))


def test_the_same_search_again_is_found_in_the_cache(bench):
    first = (bench.workspace / "tuned.yaml").read_text().splitlines()[1:]
    bench.segpipe("tune", "--config", bench.config)
    assert executed(bench.status()["runs"][-1]) == set()
    assert (bench.workspace / "tuned.yaml").read_text().splitlines()[1:] == first
