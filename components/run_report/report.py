"""Writes the report of a run: `report.html`, one file that needs no network, and its figures as `report.json`."""

import json
import os
import shutil

from absl import logging

from components.run_report import FIGURES, PAGE, PICTURE, STRIPS
from components.run_report.facts import Stored
from components.run_report.page import render


def write_report_files(facts: dict, stored: Stored, folder: str, earlier: str | None = None) -> str:
    """Writes page, figures and picture, over those of before.

    Args:
      facts: see `run_facts`.
      stored: where model and examples are.
      folder: it is made where it is missing.
      earlier: folder of a report whose pictures are taken if they show the same; None draws them.

    Returns:
      Path of the page.
    """
    os.makedirs(folder, exist_ok=True)
    strips, problem = {}, None
    if stored.model and stored.examples:
        # A run is refused for a broken model, however it is broken, and its report is the one that is read.
        try:
            strips = _pictures(facts, stored, folder, earlier)
        except Exception as error:  # noqa: BLE001
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            logging.warning("the report has no pictures: %s", problem)
    _write(os.path.join(folder, FIGURES), json.dumps(facts, indent=2) + "\n")
    path = os.path.join(folder, PAGE)
    _write(path, render(facts, strips, problem))
    return path


def _pictures(facts: dict, stored: Stored, folder: str, earlier: str | None) -> dict[str, list[dict]]:
    """Draws the comparison and the strips, or takes them over; see `photo_strips`."""
    ranking = (facts["evaluation"] or {}).get("ranking")
    shown = {"model": stored.model, "examples": stored.examples, "ranking": ranking, "setup": _drawn_by(facts)}
    strips = _taken(shown, folder, earlier) if earlier and shown["setup"] else None
    if strips is None:
        strips = _drawn(stored, ranking, folder)
    _write(os.path.join(folder, STRIPS), json.dumps({"shown": shown, "strips": strips}))
    return strips


def _drawn_by(facts: dict) -> list | None:
    """What draws: source and versions of the run."""
    setup = facts["setup"]
    return setup and [setup["source"], setup["versions"]]


def _taken(shown: dict, folder: str, earlier: str) -> dict[str, list[dict]] | None:
    """What an earlier report shows, or None if that is something else or not whole."""
    try:
        with open(os.path.join(earlier, STRIPS), encoding="utf-8") as file:
            kept = json.load(file)
        if kept["shown"] != shown:
            return None
        shutil.copyfile(os.path.join(earlier, PICTURE), os.path.join(folder, PICTURE))
    except (OSError, ValueError):
        return None
    return kept["strips"]


def _drawn(stored: Stored, ranking: dict | None, folder: str) -> dict[str, list[dict]]:
    # matplotlib takes a second to import.
    from components.inference.served_model import ServedModel
    from components.run_report.comparison import write_comparison
    from components.run_report.photos import photo_strips

    model = ServedModel(os.path.join(stored.model, "Format-Serving"))
    examples = os.path.join(stored.examples, "Split-eval")
    write_comparison(model, examples, os.path.join(folder, PICTURE))
    return photo_strips(model, examples, ranking) if ranking else {}


def _write(path: str, text: str) -> None:
    """Whole or not at all, so that a page that is being read is never half a page."""
    with open(path + ".part", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(path + ".part", path)
