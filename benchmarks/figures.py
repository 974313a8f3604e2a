"""One line of `make bench`: what was measured, beside what it is compared with in the same run.

report("4 photos", [Figure("ingest", "280 photos/s", "bare loop", "350 photos/s", 0.80, "at least 0.8")], None)
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from components.ingest.spans import list_spans, read_manifest


class Figure(NamedTuple):
    """A row of the table.

    Attributes:
      row: what is measured.
      measured: the figure of segpipe, with its unit.
      comparison, compared: what it is compared with, and that one's figure.
      ratio: of the two.
      goal: what the ratio should be; empty where the row only informs.
    """

    row: str
    measured: str
    comparison: str
    compared: str
    ratio: float
    goal: str


def raw_bytes(data: str) -> tuple[float, float]:
    """Bytes of a raw example of the newest span, and of its source files."""
    manifest = read_manifest(data, list_spans(data)[-1])
    files = sum(s.photo_bytes + s.mask_bytes for s in manifest.sources if s.verdict == "ingested")
    shards = sum(shard.bytes for split in manifest.splits.values() for shard in split)
    return shards / manifest.ingested, files / manifest.ingested


def report(title: str, figures: Iterable[Figure], path: str | None) -> None:
    """Prints the rows under a title, and appends both to a file of JSON lines if one is named."""
    figures = list(figures)
    print_table([(title, figures)])
    if path is not None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([title, figures]) + "\n")


def read(path: str) -> list[tuple[str, list[Figure]]]:
    """Titles and rows of a file that `report` wrote."""
    with open(path, encoding="utf-8") as file:
        return [(title, [Figure(*row) for row in rows]) for title, rows in map(json.loads, file)]


def print_table(parts: list[tuple[str, list[Figure]]]) -> None:
    """Prints rows as a table, each group under its title."""
    table = Table(box=None, pad_edge=False)
    # A title in it may be longer than any row.
    table.add_column("row", max_width=48)
    for column in ("measured", "compared with", "", "ratio", "to reach"):
        table.add_column(column, justify="right" if column in ("measured", "", "ratio") else "left")
    for title, figures in parts:
        table.add_row(f"[bold]{title}")
        for figure in figures:
            table.add_row("  " + figure.row, *figure[1:4], f"{figure.ratio:.2f}", figure.goal)
    Console(highlight=False, width=160).print(table)
