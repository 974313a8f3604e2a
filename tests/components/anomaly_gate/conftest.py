"""Spans of drawn photos, ingested for real: two of one kind, and three after a change that a camera can make."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest.draw import draw_dataset
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec

PHOTOS = 40


def darker(photo: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """At half of the light."""
    return photo.point(lambda value: value // 2), mask


def smaller(photo: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """At half of the resolution."""
    size = photo.width // 2, photo.height // 2
    return photo.resize(size), mask.resize(size, Image.Resampling.NEAREST)


def farther(photo: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """From so far away that the animal takes a ninth of the area, in a picture of the same size."""
    border = ((photo.height, photo.height), (photo.width, photo.width))
    wide_photo = Image.fromarray(np.pad(np.asarray(photo), (*border, (0, 0)), "reflect"))
    wide_mask = Image.fromarray(np.pad(np.asarray(mask), border, constant_values=2))
    return wide_photo.resize(photo.size), wide_mask.resize(photo.size, Image.Resampling.NEAREST)


SPANS: dict[int, tuple[int, Callable | None]] = {
    1: (17, None),
    2: (18, None),
    3: (19, darker),
    4: (20, smaller),
    5: (21, farther),
}
"""Span -> seed of its photos and what is done to them."""


@pytest.fixture(scope="session")
def drifting(tmp_path_factory) -> str:
    """The folder of `SPANS`."""
    folder = tmp_path_factory.mktemp("drifting")
    for number, (seed, change) in SPANS.items():
        source = folder / f"drawn-{number}"
        draw_dataset(str(source), PHOTOS, seed)
        for photo in sorted(source.glob("images/*.jpg")) if change else []:
            _rewrite(photo, source / "annotations" / "trimaps" / f"{photo.stem}.png", change)
        lists = str(source / "annotations")
        folders = str(source / "images"), f"{lists}/trimaps"
        ingest(str(folder / "data"), *folders, FeatureSpec(), DataSettings(), lists, number)
    return str(folder / "data")


def _rewrite(photo: Path, mask: Path, change: Callable) -> None:
    with Image.open(photo) as image, Image.open(mask) as trimap:
        trimap.load()
        changed, changed_mask = change(image, trimap)
    changed.save(photo, quality=90)
    changed_mask.save(mask)
