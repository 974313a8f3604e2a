"""Tables for the terminal, made from records."""

from rich import filesize
from rich.markup import escape
from rich.table import Table

from components.run_report.words import duration_text, score_text
from pipeline.blessings import Blessing
from pipeline.rollbacks import RecordedRollback
from pipeline.run_record import RunRecord

COLOURS = {
    "pushed": "green",
    "unchanged": "green",
    "blessed": "green",
    "tuned": "green",
    "refused": "yellow",
    "failed": "red",
    "interrupted": "red",
    "running": "cyan",
}
_SCORES = ("mean_iou", "pixel_accuracy", "binary_iou", "mean_boundary_f1")


def scores_table(
    metrics: dict, baseline: dict | None = None, intervals: dict | None = None, golden: dict | None = None
) -> Table:
    """The overall scores and each class's IoU, beside those of the baseline and on the golden set where there are any.

    Args:
      metrics: score name -> value or None.
      baseline: the same of the latest blessed model.
      intervals: score name -> half of its 95 % confidence interval or None.
      golden: `span`, and `metrics` and `intervals` of this model on it.
    """
    caption = "±: 95 % confidence, by the jackknife over photos" if intervals else None
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("score")
    table.add_column("this model", justify="right")
    if baseline:
        table.add_column("blessed model", justify="right")
    if golden:
        table.add_column(f"on golden span {golden['span']}", justify="right")
    for name in [*_SCORES, *(key for key in metrics if key.startswith("iou/"))]:
        cells = [score_text(metrics.get(name), (intervals or {}).get(name))]
        if baseline:
            cells.append(score_text(baseline.get(name)))
        if golden:
            cells.append(score_text(golden["metrics"].get(name), golden["intervals"].get(name)))
        table.add_row(name, *cells)
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
    golden = any(run.golden for run in runs)
    if golden:
        table.add_column("golden", justify="right")
    table.add_column("spans", no_wrap=True)
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
            *([score_text(run.golden["metrics"].get("mean_iou") if run.golden else None)] if golden else []),
            ", ".join(map(str, run.spans)) or "-",
            f"{len(states) - states.count('cached')} of {len(states)}",
            escape(_why(run)) or ", ".join(running),
        )
    return table


def result_lines(run: RunRecord, places: dict[str, str | None]) -> list[str]:
    """A finished run in a few lines of markup: what became of it, how long it took, and where things are.

    They are no table, since a path that is folded can be neither clicked nor copied.

    Args:
      run: as recorded.
      places: what -> path; None leaves the line out.
    """
    states = [node.state for node in run.nodes.values()]
    spent = sum(node.seconds for node in run.nodes.values() if node.state != "cached")
    cached = states.count("cached")
    rows = {"run": run.run_id, "verdict": f"[{COLOURS[run.verdict]}]{run.verdict}[/]"}
    rows |= {"version": str(run.version)} if run.version is not None else {}
    rows["components"] = f"{len(states) - cached} executed in {duration_text(spent)}, {cached} cached"
    rows |= {what: escape(path) for what, path in places.items() if path is not None}
    return [f"[dim]{what:<11}[/dim] {value}" for what, value in rows.items()]


def diff_tables(names: list[str], found: dict[str, dict[str, list]]) -> list[Table]:
    """A table per part of a comparison of two runs.

    Args:
      names: ids of the runs.
      found: see `compare_runs`.
    """
    tables = []
    for part, title in (("run", "run"), ("config", "config, where it differs"), ("source", "source, where it differs")):
        tables.append(_pair_table(title, names, found[part], change=False))
    return [*tables, *(_pair_table(part, names, found[part], change=True) for part in ("data", "metrics"))]


def _pair_table(title: str, names: list[str], pairs: dict[str, list], change: bool) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    if change:
        table.add_column("change", justify="right")
    for name, pair in pairs.items():
        cells = [escape("-" if value is None else value_text(value)) for value in pair]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in pair)
        if change:
            cells.append(f"{pair[1] - pair[0]:+.4g}" if numbers and pair[0] != pair[1] else "")
        table.add_row(escape(name), *cells)
    if not pairs:
        table.add_row("nothing", *[""] * (len(names) + change))
    return table


def blessing_text(blessing: Blessing) -> str:
    """Who blessed a model by hand, and why."""
    return f"blessed by {blessing.by}: {blessing.reason}"


def rollback_text(rollback: RecordedRollback, version: int | None) -> str:
    """What a rollback did to the model of a run, whose newest version is given."""
    return f"live again, {rollback}" if version == rollback.version else str(rollback)


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


def sizes_table(sizes: dict[str, tuple[int, int]]) -> Table:
    """Kind of files -> how many and how large."""
    table = Table(box=None, pad_edge=False)
    table.add_column("what")
    for column in ("how many", "size"):
        table.add_column(column, justify="right")
    for kind, (count, size) in sizes.items():
        table.add_row(kind, str(count), size_text(size))
    return table


def size_text(size: int) -> str:
    """Bytes in decimal units."""
    return filesize.decimal(size)


def value_text(value: object) -> str:
    """A setting's value, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _why(run: RunRecord, most: int = 3) -> str:
    more = len(run.reasons) - most
    parts = [blessing_text(run.blessing)] if run.blessing is not None else []
    if run.rollback is not None and not any(str(run.rollback) in reason for reason in run.reasons):
        parts.append(rollback_text(run.rollback, run.version))
    parts += run.reasons[:most] + ([f"and {more} more"] if more > 0 else [])
    lost = (run.summary or {}).get("lost_baseline")
    return "; ".join(parts + ([lost] if lost else []))
