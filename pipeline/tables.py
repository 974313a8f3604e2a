"""Tables for the terminal, made from records."""

from rich.table import Table

from pipeline.records import RunRecord

COLOURS = {
    "pushed": "green",
    "unchanged": "green",
    "tuned": "green",
    "refused": "yellow",
    "failed": "red",
    "interrupted": "red",
    "running": "cyan",
}
_SCORES = ("mean_iou", "pixel_accuracy", "binary_iou")


def score_text(value: float | None) -> str:
    """A score to three decimals; a dash where it is undefined."""
    return "-" if value is None else f"{value:.3f}"


def scores_table(metrics: dict, baseline: dict | None = None) -> Table:
    """The overall scores and each class's IoU, beside those of the baseline if there is one.

    Args:
      metrics: score name -> value or None.
      baseline: the same of the latest blessed model.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("score")
    table.add_column("this model", justify="right")
    if baseline:
        table.add_column("blessed model", justify="right")
    for name in [*_SCORES, *(key for key in metrics if key.startswith("iou/"))]:
        table.add_row(name, score_text(metrics.get(name)), *([score_text(baseline.get(name))] if baseline else []))
    return table


def runs_table(runs: list[RunRecord], live: int | None) -> Table:
    """One row per run, newest last.

    Args:
      runs: what to list.
      live: the version that is served; its run is marked.
    """
    table = Table(box=None, pad_edge=False)
    for column in ("run", "verdict", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("mean_iou", justify="right")
    table.add_column("executed", no_wrap=True)
    table.add_column("why", overflow="fold")
    for run in runs:
        states = [node.state for node in run.nodes.values()]
        version = "" if run.version is None else f"{run.version}{' (live)' if run.version == live else ''}"
        running = [node.name for node in run.nodes.values() if node.state == "running"]
        table.add_row(
            run.run_id,
            f"[{COLOURS[run.verdict]}]{run.verdict}[/]",
            version,
            score_text(run.summary["metrics"].get("mean_iou")) if run.summary else "-",
            f"{len(states) - states.count('cached')} of {len(states)}",
            _reasons(run) or ", ".join(running),
        )
    return table


def trials_table(trials: list[dict]) -> Table:
    """The trials of a search, best first.

    Args:
      trials: `trial_id`, `score` and a value per path.
    """
    table = Table(box=None, pad_edge=False)
    names = [name for name in trials[0] if name not in ("trial_id", "score")]
    table.add_column("trial")
    table.add_column("mean_iou", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for trial in trials:
        values = (value_text(trial[name]) for name in names)
        table.add_row(trial["trial_id"], score_text(trial["score"]), *values)
    return table


def value_text(value: object) -> str:
    """A setting's value, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _reasons(run: RunRecord, most: int = 3) -> str:
    more = len(run.reasons) - most
    return "; ".join(run.reasons[:most]) + (f"; and {more} more" if more > 0 else "")
