"""Early stopping, as functions of the learning curve alone: whoever has the curve knows what was decided and why."""

import math

from trainer.settings import EarlyStopping


def best_point(curve: list[dict]) -> int:
    """Index of the point with the highest `mean_iou`; the first of equals, and any number above an undefined one."""
    scores = [-math.inf if math.isnan(point["mean_iou"]) else point["mean_iou"] for point in curve]
    return scores.index(max(scores))


def out_of_patience(curve: list[dict], settings: EarlyStopping) -> bool:
    """Whether the last `patience` points brought no new best."""
    return len(curve) - 1 - best_point(curve) >= settings.patience


def stopping_record(curve: list[dict], steps: int, settings: EarlyStopping, held_out: list[int]) -> dict:
    """What the learning curve's file says of early stopping.

    Args:
      curve: points of `step` and `mean_iou`.
      steps: the budget.
      settings: patience and share.
      held_out: which records of the transformed training split measured it, counted from 0 over its files by name.
    """
    last, best = curve[-1]["step"], curve[best_point(curve)]["step"]
    reason = "the budget was used up"
    if last < steps:
        reason = f"mean_iou on the held-out photos had no new best in {settings.patience} evaluations"
    return settings.model_dump() | {
        "budget": steps,
        "stopped_at": last,
        "reason": reason,
        "exported_step": best,
        "held_out_photos": len(held_out),
        "held_out_records": held_out,
    }
