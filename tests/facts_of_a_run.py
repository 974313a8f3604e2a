"""Facts of a run as `run_facts` gives them, for tests of the page: a pushed model that was compared with another."""

from components.evaluator.settings import GateSettings
from components.run_report.facts import Stored, run_facts
from trainer.features import FeatureSpec

CLASSES = ["pet", "background", "contour"]
METRICS = {"mean_iou": 0.61, "pixel_accuracy": 0.85, "binary_iou": 0.7, "mean_boundary_f1": 0.5, "photos": 178.0}
METRICS |= {"iou/pet": 0.7, "iou/background": 0.8, "iou/contour": 0.33}
METRICS |= {f"confusion/{a}/{b}": 900.0 if a == b else 50.0 for a in CLASSES for b in CLASSES}
RANKING = {"worst": [{"photo": "pug_3.jpg", "mean_iou": 0.2}], "median": [], "best": [], "histogram": [0] * 19 + [1]}


def summary(slices: int = 2, **changes) -> dict:
    """The Evaluator's, of photos of some breeds."""
    breeds = {f"breed=b{number:03d}": {"mean_iou": 0.9 - 0.002 * number, "photos": 3.0} for number in range(slices)}
    return {
        "metrics": METRICS,
        "intervals": {"mean_iou": 0.02, "iou/pet": None},
        "baseline": METRICS | {"mean_iou": 0.6},
        "baseline_intervals": {"mean_iou": 0.03},
        "slices": breeds,
        "slice_intervals": {name: {"mean_iou": 0.05} for name in breeds},
        "baseline_slices": breeds,
        "ranking": RANKING,
        "refusals": [],
        "lost_baseline": None,
    } | changes


def facts(verdict: str = "pushed", evaluation: dict | None = None, stored: Stored | None = None, **run) -> dict:
    """A run that came as far as its verdict says."""
    evaluation = evaluation or summary()
    config = {
        "features": FeatureSpec().model_dump(mode="json"),
        "gate": GateSettings(min_slice_mean_iou={"breed": 0.5}).model_dump(),
        "training": {"seed": 17},
    }
    setup = {"config": config, "engine": "local", "versions": {"tfx": "1.16.0"}, "commit": "c0ffee", "source": "f00d"}
    record = {
        "run_id": "r2",
        "started": 1.79e9,
        "verdict": verdict,
        "reasons": [],
        "version": 17,
        "blessing": None,
        "golden": None,
        "nodes": {"Transform": {"state": "cached", "seconds": 3.0}, "Trainer": {"state": "complete", "seconds": 60.0}},
        "lost_baseline": evaluation["lost_baseline"],
    }
    record |= {key: evaluation[key] for key in ("metrics", "baseline", "slices", "intervals", "slice_intervals")}
    history = [
        {"run_id": name, "started": 1.0, "verdict": was, "version": None, "mean_iou": score, "half_width": 0.02}
        for name, was, score in (("r0", "refused", 0.4), ("r1", "pushed", 0.6), ("r2", verdict, 0.61))
    ]
    given = setup | {"log": "run.log", "error": run.pop("error", None)}
    baseline = {"run_id": "r1", "version": 16, "model": "m"}
    return run_facts(record | run, evaluation, stored or Stored(), given, history, baseline)
