"""The pictures of a report that shows the same as an earlier one are taken from there, and from nowhere else."""

import json
import shutil
from pathlib import Path

import pytest
from drawing import write_brightness_model, write_pets
from facts_of_a_run import facts, summary

from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.run_report import PAGE, PICTURE, STRIPS
from components.run_report.facts import Stored
from components.run_report.report import write_report_files
from trainer.features import ClassSpec, FeatureSpec

SPEC = FeatureSpec(
    classes=(ClassSpec(name="background", values=(2,)), ClassSpec(name="pet", values=(1, 3))), height=32, width=48
)


@pytest.fixture
def stored(tmp_path) -> Stored:
    """A model and an evaluation split of three photos, where a run leaves them."""
    source = write_pets(tmp_path / "source", ["pug_1"], ["pug_2", "pug_3", "pug_4"])
    trimaps, lists = str(source / "annotations" / "trimaps"), str(source / "annotations")
    outcome = ingest(str(tmp_path / "data"), str(source / "images"), trimaps, SPEC, DataSettings(), lists)
    split = tmp_path / "examples" / "Split-eval"
    split.mkdir(parents=True)
    shutil.copy(Path(outcome.folder) / "eval-00000-of-00001.tfrecord", split)
    write_brightness_model(tmp_path / "model" / "Format-Serving", SPEC)
    return Stored(model=str(tmp_path / "model"), examples=str(tmp_path / "examples"))


def ranked(*names: str) -> dict:
    """Facts of a run whose worst photos are these."""
    worst = [{"photo": name, "mean_iou": 0.25} for name in names]
    return facts(evaluation=summary(ranking={"worst": worst, "median": [], "best": [], "histogram": [0] * 20}))


def pictures(folder: Path) -> tuple[bytes, int]:
    """The comparison, and how many pictures the page holds; 0 where it says that it has none."""
    return (folder / PICTURE).read_bytes(), (folder / PAGE).read_text().count("data:image/webp")


def test_a_run_with_nothing_new_shows_the_pictures_of_before_without_asking_the_model(tmp_path, stored):
    first, second = tmp_path / "first", tmp_path / "second"
    write_report_files(ranked("pug_3.jpg"), stored, str(first))
    assert pictures(first)[1] == 3
    shutil.rmtree(stored.model)
    write_report_files(ranked("pug_3.jpg"), stored, str(second), earlier=str(first))
    assert pictures(second) == pictures(first)
    # And so does the one after it.
    write_report_files(ranked("pug_3.jpg"), stored, str(tmp_path / "third"), earlier=str(second))
    assert pictures(tmp_path / "third") == pictures(first)


def _other_ranking(first: Path) -> dict:
    return ranked("pug_2.jpg", "pug_4.jpg")


def _other_source(first: Path) -> dict:
    changed = ranked("pug_3.jpg")
    changed["setup"]["source"] = "beef"
    return changed


def _damaged_strips(first: Path) -> dict:
    (first / STRIPS).write_text((first / STRIPS).read_text()[:40])
    return ranked("pug_3.jpg")


def _no_picture(first: Path) -> dict:
    (first / PICTURE).unlink()
    return ranked("pug_3.jpg")


@pytest.mark.parametrize("change", [_other_ranking, _other_source, _damaged_strips, _no_picture])
def test_other_photos_other_source_and_damage_are_drawn_anew(tmp_path, stored, change):
    first, second = tmp_path / "first", tmp_path / "second"
    write_report_files(ranked("pug_3.jpg"), stored, str(first))
    told = change(first)
    # What is taken over would show this.
    if (first / STRIPS).stat().st_size > 40:
        kept = json.loads((first / STRIPS).read_text())
        kept["strips"] = {}
        (first / STRIPS).write_text(json.dumps(kept))
    write_report_files(told, stored, str(second), earlier=str(first))
    assert pictures(second)[1] == 3 * len(told["evaluation"]["ranking"]["worst"])
