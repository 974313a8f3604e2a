"""Each bound of the Evaluator's gate beside the value that it was held against."""

from collections.abc import Iterator

from components.evaluator.settings import GateSettings


def gate_rows(gate: GateSettings, summary: dict) -> list[dict]:
    """What the gate looked at.

    Args:
      gate: the bounds.
      summary: the Evaluator's.

    Returns:
      Per bound its `setting`, `what` was held against it, the `kind` of its `value` and `bound` (score, change or
      count) and whether it `passed`; of the slices of a key the one that came off worst. A value that is undefined has
      not passed. The Evaluator's own word is final: it stands in the summary's `refusals`.
    """
    return list(_rows(gate, summary))


def _rows(gate: GateSettings, summary: dict) -> Iterator[dict]:
    metrics, baseline = summary["metrics"], summary["baseline"]
    yield _row("min_mean_iou", "Mean IoU", metrics.get("mean_iou"), gate.min_mean_iou)
    for name in (key.removeprefix("iou/") for key in metrics if key.startswith("iou/")):
        if gate.class_bound(name):
            yield _row("min_class_iou", f"IoU of {name}", metrics[f"iou/{name}"], gate.class_bound(name))
    if gate.min_mean_boundary_f1:
        f1 = metrics.get("mean_boundary_f1")
        yield _row("min_mean_boundary_f1", "Mean boundary F1", f1, gate.min_mean_boundary_f1)
    yield _row("min_photos", "Evaluation photos", metrics.get("photos"), gate.min_photos, "count")
    for key, bound in gate.min_slice_mean_iou.items():
        slices = {n: s.get("mean_iou") for n, s in summary["slices"].items() if n.startswith(f"{key}=")}
        yield _worst("min_slice_mean_iou", "Mean IoU", key, slices, bound)
    if baseline:
        change = _change(metrics.get("mean_iou"), baseline.get("mean_iou"))
        yield _row("max_drop", "Mean IoU against the blessed model", change, -gate.max_drop, "change")
        before = summary.get("baseline_slices") or {}
        for key, drop in gate.max_slice_drop.items():
            changes = {
                name: _change(scores.get("mean_iou"), before[name].get("mean_iou"))
                for name, scores in summary["slices"].items()
                if name.startswith(f"{key}=") and name in before
            }
            yield _worst("max_slice_drop", "Mean IoU against the blessed model", key, changes, -drop, "change")


def _change(value: float | None, before: float | None) -> float | None:
    return None if value is None or before is None else value - before


def _worst(
    setting: str, what: str, key: str, values: dict[str, float | None], bound: float, kind: str = "score"
) -> dict:
    if not values:
        return _row(f"{setting}.{key}", f"{what}: no photo has a {key}", None, bound, kind)
    name = min(values, key=lambda n: float("-inf") if values[n] is None else values[n])
    of = f"{what} of {name}, the worst of {len(values)}"
    return _row(f"{setting}.{key}", of, values[name], bound, kind)


def _row(setting: str, what: str, value: float | None, bound: float, kind: str = "score") -> dict:
    # TFMA computes in another order, so the last bits differ where a value sits on its bound.
    passed = value is not None and value >= bound - 1e-12
    row = {"setting": f"gate.{setting}", "what": what, "kind": kind, "value": value, "bound": bound}
    return row | {"passed": passed}
