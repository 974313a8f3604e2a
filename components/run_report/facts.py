"""Every figure of a run, as plain JSON: what `report.json` holds, the page shows and `segpipe diff` compares.

Everything is read from stored records; what a run did not get to is None, so a run that broke off has facts too.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from components.evaluator.settings import GateSettings
from components.run_report.data import named_anomalies, span_facts, statistics_facts
from components.run_report.gate import gate_rows
from components.run_report.settings import ModelCardSettings
from trainer.features import FeatureSpec

CURVE = "learning_curve.json"
CONFUSION = "confusion/"


@dataclass(frozen=True)
class Stored:
    """Where the records of a run lie; None for what it did not get to.

    Attributes:
      window: path of the window of spans.
      statistics, anomalies, examples, model, training: folders of artifacts.
      previous_statistics: of the newest earlier run on other data.
      counts: split -> stage -> examples, as Conservation left them.
      drift: what AnomalyGate compared with the span before, as it left it: `feature`, `span`, `previous`, `now`,
        `before`, `distance`, `threshold` and `value`.
      canary: `latency_ms` and `memory_mb` of the exported model.
    """

    window: str | None = None
    statistics: str | None = None
    previous_statistics: str | None = None
    anomalies: str | None = None
    examples: str | None = None
    model: str | None = None
    training: str | None = None
    counts: dict[str, dict[str, int]] | None = None
    drift: list[dict] | None = None
    canary: dict[str, float] | None = None


def run_facts(
    run: dict,
    evaluation: dict | None,
    stored: Stored,
    setup: dict | None,
    history: list[dict],
    baseline_model: dict | None,
) -> dict:
    """Puts the figures of a run together.

    Args:
      run: what became of it, as `status --json` has it.
      evaluation: the Evaluator's summary, or None.
      stored: where more is to be read.
      setup: what it was started with, or None where that was not kept.
      history: runs as far as this one, oldest first: `run_id`, `started`, `verdict`, `version`, `mean_iou`,
        `half_width`.
      baseline_model: `run_id` and `version` of what it was compared with, or None.
    """
    config = (setup or {}).get("config", {})
    data = _data(stored, evaluation)
    facts = run | {"setup": setup, "history": history, "baseline_model": baseline_model, "canary": stored.canary}
    facts |= {"data": data, "training": _training(stored.training), "classes": _classes(config)}
    facts["model_card"] = _settings(ModelCardSettings, config.get("model_card")).model_dump()
    if evaluation is None:
        return facts | {"evaluation": None}
    names = [key.removeprefix("iou/") for key in evaluation["metrics"] if key.startswith("iou/")]
    known = {one["name"]: one for one in facts["classes"]}
    facts["classes"] = [known.get(name, {"name": name, "colour": None}) for name in names]
    facts["evaluation"] = {
        "photos": int(evaluation["metrics"].get("photos") or 0),
        "gate": gate_rows(_settings(GateSettings, config.get("gate")), evaluation) if setup else None,
        "confusion": [[evaluation["metrics"].get(f"{CONFUSION}{a}/{b}") for b in names] for a in names],
        "ranking": evaluation.get("ranking"),
        "baseline_intervals": evaluation.get("baseline_intervals"),
        "baseline_slices": evaluation.get("baseline_slices"),
        "refusals": evaluation.get("refusals", []),
    }
    return facts


def _settings(kind: type, content: dict | None) -> Any:
    """A section of a config that was kept; its defaults where an older version kept what this one does not take."""
    try:
        return kind.model_validate(content or {})
    except ValidationError:
        return kind()


def _classes(config: dict) -> list[dict]:
    spec = _settings(FeatureSpec, config.get("features"))
    return [{"name": n, "colour": c} for n, c in zip(spec.class_names, spec.colours, strict=True)] if config else []


def _training(folder: str | None) -> dict | None:
    path = os.path.join(folder, CURVE) if folder else ""
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _data(stored: Stored, evaluation: dict | None) -> dict:
    gone = not (stored.window and os.path.isfile(stored.window))
    spans = None if gone else span_facts(stored.window)
    statistics = statistics_facts(stored.statistics) if stored.statistics else {}
    previous = statistics_facts(stored.previous_statistics) if stored.previous_statistics else {}
    anomalies = named_anomalies(stored.anomalies) if stored.anomalies else None
    return {
        "window": spans,
        "statistics": statistics,
        "previous": previous,
        "counts": stored.counts or _counts(spans, statistics, evaluation),
        "anomalies": anomalies,
        "drift": stored.drift or [],
    }


def _counts(spans: dict | None, statistics: dict, evaluation: dict | None) -> dict[str, dict[str, int]]:
    """Split -> stage -> examples, of a run that no Conservation has counted."""
    counts: dict[str, dict[str, int]] = {}
    for split, number in (spans or {}).get("ingested", {}).items():
        counts.setdefault(split, {})["manifest"] = number
    for split, facts in statistics.items():
        counts.setdefault(split, {})["StatisticsGen"] = facts["examples"]
    if evaluation is not None and evaluation["metrics"].get("photos") is not None:
        counts.setdefault("eval", {})["SegmentationEvaluator"] = int(evaluation["metrics"]["photos"])
    return counts
