"""Geometry of the page's line charts: values become percentages of the plot, templates draw them.

A chart is drawn at any width with its labels at their own size, so positions are percent, from the left and the top.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator


class Axis(NamedTuple):
    """A linear scale: `low` and `high` are its ends, `ticks` pairs of position in percent and label."""

    low: float
    high: float
    ticks: list[tuple[float, str]]

    def percent(self, value: float) -> float:
        """Where a value lies, 0..100 from `low` to `high`."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def axis(values: Sequence[float], label: Callable[[float], str], bins: int = 4, whole: bool = False) -> Axis:
    """A scale with round ends and ticks.

    Args:
      values: what it must hold, at least one.
      label: makes the text of a tick.
      bins: how many intervals at most.
      whole: ticks lie on whole numbers.
    """
    low, high = float(min(values)), float(max(values))
    if low == high:
        low, high = low - (0.5 if not whole else 1), high + (0.5 if not whole else 1)
    ticks = MaxNLocator(bins, integer=whole).tick_values(low, high)
    scale = Axis(float(ticks[0]), float(ticks[-1]), [])
    return scale._replace(ticks=[(scale.percent(tick), label(tick)) for tick in ticks])


def line(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    """The points of an SVG polyline in a view box of 100 by 100."""
    return " ".join(f"{x.percent(a)},{round(100 - y.percent(b), 2)}" for a, b in points)


def curve_chart(curve: list[dict], key: str, title: str) -> dict:
    """One line over training steps.

    Args:
      curve: points with `step` and `key`.
      key: what is drawn.
      title: what it is, for people.
    """
    points = [(point["step"], point[key]) for point in curve]
    x = axis([0, *(step for step, _ in points)], lambda tick: f"{tick:,.0f}", whole=True)
    y = axis([value for _, value in points], _number)
    x = x._replace(ticks=[tick for tick in x.ticks if 0 <= tick[0] <= 100])
    last = points[-1]
    return {
        "title": title,
        "x": x,
        "y": y,
        "x_title": "steps",
        "line": line(points, x, y),
        "last": (x.percent(last[0]), round(100 - y.percent(last[1]), 2)),
        "summary": f"{title} over {last[0]:,} steps: from {points[0][1]:.3f} to {last[1]:.3f}",
    }


def history_chart(runs: list[dict]) -> dict:
    """Mean IoU of runs in their order, with its confidence interval and what became of each.

    Args:
      runs: oldest first, each with `run_id`, `verdict`, `mean_iou` and `half_width` (or None).
    """
    spread = [r["half_width"] or 0.0 for r in runs]
    lows = [max(0.0, r["mean_iou"] - s) for r, s in zip(runs, spread, strict=True)]
    highs = [min(1.0, r["mean_iou"] + s) for r, s in zip(runs, spread, strict=True)]
    y = axis([*lows, *highs], _number)
    middle = [50.0] if len(runs) == 1 else np.linspace(2, 98, len(runs)).round(2).tolist()
    points = []
    for place, run, low, high in zip(middle, runs, lows, highs, strict=True):
        top, bottom = 100 - y.percent(high), 100 - y.percent(low)
        at = {"x": place, "y": round(100 - y.percent(run["mean_iou"]), 2), "top": top, "height": round(bottom - top, 2)}
        points.append(run | at)
    return {"y": y, "points": points, "line": " ".join(f"{p['x']},{p['y']}" for p in points)}


def _number(value: float) -> str:
    return f"{value:.10g}" if abs(value) < 1e6 else f"{value:.3g}"
