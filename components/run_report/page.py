"""The page of a run: from facts to HTML. Words and geometry are decided here, the templates only place them."""

import datetime
import os
from typing import Any

import jinja2
import yaml

from components.run_report.charts import curve_chart, history_chart
from components.run_report.data_rows import data_rows
from components.run_report.words import duration_text, score_text
from trainer.ranking import BINS

_TEMPLATES = os.path.join(os.path.dirname(__file__), "templates")
_TONES = {"refused": "warn", "failed": "bad", "interrupted": "bad", "running": "info"}
_SLICES_SHOWN = 40
_SCORES = {
    "mean_iou": "Mean IoU",
    "pixel_accuracy": "Pixel accuracy",
    "binary_iou": "Binary IoU",
    "mean_boundary_f1": "Mean boundary F1",
}


def render(facts: dict, strips: dict[str, list[dict]], problem: str | None) -> str:
    """The whole page.

    Args:
      facts: see `run_facts`.
      strips: see `photo_strips`; empty without a model.
      problem: why there are no pictures although there is a model, or None.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": score_text,
        "signed": _signed,
        "share": _share,
        "duration": duration_text,
        "moment": _moment,
        "number": _number,
    }
    metrics = facts["metrics"] or {}
    return environment.get_template("report.html.j2").render(
        facts=facts,
        tone=_TONES.get(facts["verdict"], "good"),
        title=verdict_title(facts),
        lead=_lead(facts),
        change=_change(metrics.get("mean_iou"), (facts["baseline"] or {}).get("mean_iou")),
        scores=_scores(facts),
        class_rows=_class_rows(facts),
        slices=_slices(facts),
        matrix=_matrix(facts),
        history=_history(facts),
        curves=_curves(facts["training"]),
        ranks=_ranks(facts),
        strips=strips,
        problem=problem,
        data=data_rows(facts),
        timing=_timing(facts),
        config=yaml.safe_dump(facts["setup"]["config"], sort_keys=False) if facts["setup"] else None,
    )


def verdict_title(facts: dict) -> str:
    """The verdict in a few words."""
    broken = [name for name, node in facts["nodes"].items() if node["state"] == "failed"]
    return {
        "pushed": f"Pushed as version {facts['version']}",
        "unchanged": f"Nothing new: version {facts['version']} stays live",
        "blessed": f"Pushed by hand as version {facts['version']}",
        "refused": "Refused: nothing was pushed",
        "failed": f"Failed in {', '.join(broken)}" if broken else "Failed",
        "interrupted": "Interrupted before its end",
        "running": "Still running",
        "tuned": "Search finished",
    }[facts["verdict"]]


def _lead(facts: dict) -> str:
    metrics, baseline = facts["metrics"], facts["baseline"]
    if not metrics:
        return "No model was evaluated."
    score = score_text(metrics.get("mean_iou"), (facts["intervals"] or {}).get("mean_iou"))
    text = f"Mean IoU is {score} on {facts['evaluation']['photos']:,} evaluation photos. "
    if baseline:
        model = facts["baseline_model"] or {}
        names = [f"version {model['version']}"] if model.get("version") else []
        names += [f"run {model['run_id']}"] if model.get("run_id") else []
        of = f" ({', '.join(names)})" if names else ""
        return (
            text + f"The blessed model it was compared with{of} has {score_text(baseline.get('mean_iou'))} on the same."
        )
    if facts["lost_baseline"]:
        return text + facts["lost_baseline"][0].upper() + facts["lost_baseline"][1:] + "."
    return text + "There was no blessed model to compare with, so the value thresholds alone decided."


def _change(value: float | None, before: float | None) -> float | None:
    return None if value is None or before is None else value - before


def _scores(facts: dict) -> list[dict]:
    """The rows of the table of scores."""
    metrics, baseline, golden = facts["metrics"] or {}, facts["baseline"] or {}, facts["golden"]
    intervals = facts["intervals"] or {}
    spread = (facts["evaluation"] or {}).get("baseline_intervals") or {}
    titles = dict(_SCORES)
    for kind, text in (("iou", "IoU"), ("dice", "Dice"), ("boundary_f1", "Boundary F1")):
        titles |= {f"{kind}/{one['name']}": f"{text}, {one['name']}" for one in facts["classes"]}
    return [
        {
            "title": title,
            "value": metrics[key],
            "half": intervals.get(key),
            "before": baseline.get(key),
            "before_half": spread.get(key),
            "change": _change(metrics[key], baseline.get(key)),
            "model_size": metrics.get(f"model_size/{key}"),
            "golden": golden["metrics"].get(key) if golden else None,
            "golden_half": golden["intervals"].get(key) if golden else None,
        }
        for key, title in titles.items()
        if key in metrics
    ]


def _bar(label: str, value: float | None, half: float | None, before: float | None = None, **more: Any) -> dict:
    """A bar on a scale of 0..1, its interval cut off at the ends; all in percent."""
    bar = {"label": label, "value": value, "half": half, "before": before} | more
    if value is None:
        return bar | {"fill": 0, "low": None, "high": None, "mark": None}
    low, high = (None, None) if half is None else (max(0.0, value - half), min(1.0, value + half))
    places = {"fill": value, "low": low, "high": high, "mark": before}
    return bar | {key: None if place is None else round(100 * place, 2) for key, place in places.items()}


def _class_rows(facts: dict) -> list[dict]:
    metrics, intervals, baseline = (facts[key] or {} for key in ("metrics", "intervals", "baseline"))
    if not metrics:
        return []
    rows = [_bar("Mean", metrics.get("mean_iou"), intervals.get("mean_iou"), baseline.get("mean_iou"), colour=None)]
    for one in facts["classes"]:
        key = f"iou/{one['name']}"
        bar = _bar(one["name"], metrics.get(key), intervals.get(key), baseline.get(key), colour=one["colour"])
        rows.append(bar)
    return rows


def _slices(facts: dict) -> list[dict]:
    """Per slice key its slices, worst first; of more than `_SLICES_SHOWN` the worst and the best half of that."""
    halves = facts["slice_intervals"] or {}
    before = (facts["evaluation"] or {}).get("baseline_slices") or {}
    bounds = ((facts["setup"] or {}).get("config", {}).get("gate") or {}).get("min_slice_mean_iou") or {}
    keys: dict[str, list[dict]] = {}
    for name, scores in (facts["slices"] or {}).items():
        key, _, value = name.partition("=")
        half, was = halves.get(name, {}).get("mean_iou"), before.get(name, {}).get("mean_iou")
        keys.setdefault(key, []).append(_bar(value, scores.get("mean_iou"), half, was, photos=scores.get("photos")))
    found = []
    for key, rows in keys.items():
        rows.sort(key=lambda row: (row["value"] is None, row["value"], row["label"]))
        left_out = max(0, len(rows) - _SLICES_SHOWN)
        if left_out:
            rows = rows[: _SLICES_SHOWN // 2] + rows[-_SLICES_SHOWN // 2 :]
        found.append({"key": key, "rows": rows, "left_out": left_out, "bound": bounds.get(key)})
    return found


def _matrix(facts: dict) -> list[dict]:
    """Rows of the confusion matrix, as shares of the true class's pixels."""
    counts = (facts["evaluation"] or {}).get("confusion") or []
    rows = []
    for row, (one, values) in enumerate(zip(facts["classes"], counts, strict=False)):
        total = sum(value or 0 for value in values)
        cells = [{"share": (v or 0) / total if total else None, "hit": c == row} for c, v in enumerate(values)]
        rows.append({"name": one["name"], "cells": cells, "pixels": total})
    return rows


def _history(facts: dict) -> dict | None:
    scored = [run for run in facts["history"] if run["mean_iou"] is not None]
    if not scored:
        return None
    chart = history_chart([run | {"tone": _TONES.get(run["verdict"], "good")} for run in scored])
    first, last = scored[0]["mean_iou"], scored[-1]["mean_iou"]
    return chart | {"summary": f"Mean IoU of {len(scored)} runs, from {first:.3f} to {last:.3f}"}


def _curves(training: dict | None) -> list[dict]:
    titles = {"loss": "Training loss", "mean_iou": "Mean IoU at the model's size"}
    curve = (training or {}).get("curve") or []
    return [curve_chart(curve, key, title) for key, title in titles.items()] if curve else []


def _ranks(facts: dict) -> list[dict]:
    """Columns of the histogram over photos."""
    counts = ((facts["evaluation"] or {}).get("ranking") or {}).get("histogram") or []
    most = max(counts, default=0)
    if not most:
        return []
    edges = [f"{index / BINS:.2f} to {(index + 1) / BINS:.2f}" for index in range(BINS)]
    return [{"label": e, "count": c, "height": round(100 * c / most, 1)} for e, c in zip(edges, counts, strict=True)]


def _timing(facts: dict) -> list[dict]:
    longest = max((node["seconds"] for node in facts["nodes"].values() if node["state"] != "cached"), default=0) or 1
    return [
        {
            "name": name,
            "state": node["state"],
            "seconds": node["seconds"],
            "fill": 0 if node["state"] == "cached" else round(100 * node["seconds"] / longest, 1),
        }
        for name, node in facts["nodes"].items()
    ]


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _moment(timestamp: float) -> str:
    return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc).strftime("%-d %B %Y, %H:%M UTC")


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.3g}"
