"""A folder that holds nothing new makes no span, whatever its files are called and however they were ingested."""

import os
import shutil
from pathlib import Path

import pytest
from drawing import encoded, pet, save, write_pair, write_pets

from components.ingest import workers
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec


def take(data: Path, source: Path, number: int | None = None, only_new: bool = False):
    lists = str(source / "annotations")
    folders = str(source / "images"), f"{lists}/trimaps"
    settings = FeatureSpec(), DataSettings(max_quarantine=0.5)
    return ingest(str(data), *folders, *settings, lists, number, only_new=only_new)


@pytest.fixture
def data(tmp_path) -> Path:
    """Two spans of three photos each."""
    for index in range(2):
        source = write_pets(tmp_path / f"source-{index}", [f"pug_{index}", f"Bengal_{index}"], [f"boxer_{index}"])
        for photo in source.glob("images/*.jpg"):
            # Both are drawn alike; a trailing byte makes their contents differ.
            photo.write_bytes(photo.read_bytes() + bytes([index]))
        assert take(tmp_path / "data", source).written
    return tmp_path / "data"


def both(data: Path, names: dict[str, str]) -> Path:
    """One folder of photos of both spans; `names` maps a stem to the one it gets."""
    together = data.parent / "together"
    (together / "images").mkdir(parents=True)
    (together / "annotations" / "trimaps").mkdir(parents=True)
    for old, new in names.items():
        source = data.parent / f"source-{old[-1]}"
        shutil.copy(source / "images" / f"{old}.jpg", together / "images" / f"{new}.jpg")
        shutil.copy(
            source / "annotations" / "trimaps" / f"{old}.png", together / "annotations" / "trimaps" / f"{new}.png"
        )
    split = {
        name: [new for old, new in names.items() if old.startswith("boxer") == (name == "test.txt")] for name in LISTS
    }
    for name, stems in split.items():
        (together / "annotations" / name).write_text("".join(f"{stem} 1 1 1\n" for stem in stems))
    return together


LISTS = ("trainval.txt", "test.txt")
MIXED = {"pug_0": "pug_7", "Bengal_1": "Bengal_1", "boxer_0": "boxer_9"}


def test_photos_that_older_spans_hold_between_them_make_no_span(data):
    before = sorted(os.listdir(data))
    outcome = take(data, both(data, MIXED))
    assert (outcome.written, outcome.held) == (False, [1, 2])
    assert sorted(os.listdir(data)) == before


def test_fewer_photos_than_a_span_holds_are_nothing_new(data):
    outcome = take(data, both(data, {"pug_0": "pug_0", "boxer_0": "boxer_0"}))
    assert (outcome.written, outcome.held) == (False, [1])


def test_one_new_photo_makes_a_span(data):
    together = both(data, MIXED)
    save(together / "images" / "pug_8.jpg", encoded(pet(seed=99)[0], "JPEG"))
    save(together / "annotations" / "trimaps" / "pug_8.png", pet(seed=99)[1])
    with open(together / "annotations" / "trainval.txt", "a") as file:
        file.write("pug_8 1 1 1\n")
    outcome = take(data, together)
    assert (outcome.written, outcome.held, outcome.manifest.span) == (True, [], 3)


def test_a_new_mask_makes_a_span(data):
    together = both(data, MIXED)
    mask = pet(seed=0)[1]
    mask[:4] = 1
    save(together / "annotations" / "trimaps" / "pug_7.png", mask)
    assert take(data, together).written


def test_another_split_of_known_photos_is_something_new(data):
    together = both(data, MIXED)
    first, second = (together / "annotations" / name for name in LISTS)
    train, test = first.read_text(), second.read_text()
    first.write_text(test)
    second.write_text(train)
    assert take(data, together).written


def test_a_span_that_is_asked_for_by_number_is_made(data):
    outcome = take(data, both(data, MIXED), number=3)
    assert (outcome.written, outcome.manifest.span) == (True, 3)


def add_new(together: Path, **split_of: str) -> None:
    """Adds pairs that no span holds, by stem with the list that names it."""
    for index, (stem, name) in enumerate(split_of.items()):
        write_pair(together, stem, seed=90 + index)
        with open(together / "annotations" / name, "a") as file:
            file.write(f"{stem} 1 1 1\n")


def test_only_what_is_new_goes_into_a_span_where_that_is_asked_for(data):
    together = both(data, MIXED)
    add_new(together, pug_8=LISTS[0], boxer_8=LISTS[1])
    outcome = take(data, together, only_new=True)
    manifest = outcome.manifest
    assert (outcome.written, manifest.span, manifest.photos_found, manifest.ingested) == (True, 3, 2, 2)
    assert [source.photo for source in manifest.sources] == ["boxer_8.jpg", "pug_8.jpg"]
    again = take(data, together, only_new=True)
    assert (again.written, again.held) == (False, [1, 2, 3])


def test_processes_are_chosen_by_the_photos_that_are_new(data, monkeypatch):
    together, asked = both(data, MIXED), []
    add_new(together, pug_8=LISTS[0], boxer_8=LISTS[1])
    monkeypatch.setattr(workers, "useful_processes", lambda photos, *_: asked.append(photos) or 1)
    take(data, together, only_new=True)
    assert asked == [2]


def test_a_photo_that_waits_for_its_mask_is_told_once_and_ingested_with_it(data):
    together = both(data, MIXED)
    add_new(together, pug_8=LISTS[0], boxer_8=LISTS[1], late_1=LISTS[0])
    mask = together / "annotations" / "trimaps" / "late_1.png"
    mask.rename(data.parent / "late_1.png")
    assert take(data, together, only_new=True).manifest.quarantined == {"no_mask": 1}
    again = take(data, together, only_new=True)
    assert (again.written, again.left_out) == (False, [])
    (data.parent / "late_1.png").rename(mask)
    add_new(together, boxer_9b=LISTS[1])
    save(together / "images" / "boxer_9b.jpg", encoded(pet(seed=77)[0], "JPEG"))
    assert [source.photo for source in take(data, together, only_new=True).manifest.sources] == [
        "boxer_9b.jpg",
        "late_1.jpg",
    ]
