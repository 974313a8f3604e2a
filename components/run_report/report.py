"""Writes the report of a run: `report.html`, one file that needs no network, and its figures as `report.json`."""

import json
import os

from absl import logging

from components.run_report import FIGURES, PAGE, PICTURE
from components.run_report.comparison import write_comparison
from components.run_report.facts import Stored
from components.run_report.page import render
from components.run_report.photos import photo_strips


def write_report_files(facts: dict, stored: Stored, folder: str) -> str:
    """Writes page, figures and picture, over those of before.

    Args:
      facts: see `run_facts`.
      stored: where model and examples are.
      folder: it is made where it is missing.

    Returns:
      Path of the page.
    """
    os.makedirs(folder, exist_ok=True)
    strips, problem = {}, None
    if stored.model and stored.examples:
        # A run is refused for a broken model, however it is broken, and its report is the one that is read.
        try:
            strips = _pictures(facts, stored, folder)
        except Exception as error:  # noqa: BLE001
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            logging.warning("the report has no pictures: %s", problem)
    _write(os.path.join(folder, FIGURES), json.dumps(facts, indent=2) + "\n")
    path = os.path.join(folder, PAGE)
    _write(path, render(facts, strips, problem))
    return path


def _pictures(facts: dict, stored: Stored, folder: str) -> dict[str, list[dict]]:
    model = os.path.join(stored.model, "Format-Serving")
    examples = os.path.join(stored.examples, "Split-eval")
    write_comparison(model, examples, os.path.join(folder, PICTURE))
    ranking = (facts["evaluation"] or {}).get("ranking")
    return photo_strips(model, examples, ranking) if ranking else {}


def _write(path: str, text: str) -> None:
    """Whole or not at all, so that a page that is being read is never half a page."""
    with open(path + ".part", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(path + ".part", path)
