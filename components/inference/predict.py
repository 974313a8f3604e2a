"""Predicts masks for photo files of any kind, in batches; a broken file is named and skipped."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from components.errors import UsageError
from components.inference.pictures import mask_picture, overlay_picture, save_png
from components.inference.served_model import ServedModel
from components.ingest.opening import Unreadable, file_bytes
from components.ingest.reader import upright_jpeg
from components.ingest.sources import PHOTO_SUFFIXES, photo_files
from trainer.features import FeatureSpec
from trainer.photo_size import predicted_labels

# What is held at a time; the net gains nothing from more.
_BATCH = 8


@dataclass(frozen=True)
class Predicted:
    """One photo and its pictures.

    Attributes:
      file: the photo, as it was named.
      mask, overlay: relative to the folder of the output; no overlay is None.
      height, width: of the photo held upright, and of both pictures.
      class_shares: class name -> share of the pixels, 0..1.
    """

    file: str
    mask: str
    overlay: str | None
    height: int
    width: int
    class_shares: dict[str, float]


@dataclass(frozen=True)
class Predictions:
    """What became of the files: those with a mask in their order, and file -> why it could not be read."""

    photos: list[Predicted] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def expand(paths: list[str]) -> list[str]:
    """Photo files: each given file, and for a folder every photo in it; one that is named twice comes once.

    Raises:
      UsageError: if a path does not exist or a folder holds no photo.
    """
    files = []
    for path in paths:
        if os.path.isdir(path):
            inside = photo_files(path)
            if not inside:
                raise UsageError(f"{path}: holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))}); name another folder")
            files += inside
        elif os.path.isfile(path):
            files.append(path)
        else:
            raise UsageError(f"{path}: no such photo or folder; check the path")
    by_path: dict[str, str] = {}
    for file in files:
        by_path.setdefault(os.path.abspath(file), file)
    return list(by_path.values())


def picture_names(files: list[str]) -> dict[str, str]:
    """Where the pictures of each file go, below `masks/` and `overlays/`.

    Returns:
      file -> its stem and `.png`; files of one stem keep their suffix and their path below the folder that holds them
      all (`one/a.jpg.png` and `two/a.jpg.png`), so that none overwrites another.

    Raises:
      UsageError: if two names come out the same all the same.
    """
    by_stem = defaultdict(list)
    for file in files:
        by_stem[os.path.splitext(os.path.basename(file))[0]].append(file)
    names: dict[str, str] = {}
    for stem, sharing in by_stem.items():
        folder = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in sharing])
        for file in sharing:
            names[file] = (stem if len(sharing) == 1 else os.path.relpath(file, folder)) + ".png"
    file_of: dict[str, str] = {}
    for file, name in names.items():
        other = file_of.setdefault(name, file)
        if other != file:
            raise UsageError(f"{file}: would write the same mask as {other}; predict them into two folders")
    return names


def predict(
    model: ServedModel,
    files: list[str],
    output: str,
    max_pixels: int,
    done: Callable[[int], None],
    overlays: bool = True,
) -> Predictions:
    """Writes a mask and an overlay of each photo, both of the photo's own upright size.

    Args:
      model: what to ask.
      files: photos.
      output: the folder to write `masks/` and `overlays/` to; it is made where it is missing.
      max_pixels: largest photo that is decoded.
      done: called with the number of photos finished since the last call.
      overlays: False writes masks alone.

    Raises:
      UsageError: see `picture_names`.
    """
    names, result = picture_names(files), Predictions()

    def read(file: str) -> tuple[bytes, np.ndarray] | str:
        try:
            return upright_jpeg(file_bytes(file, "photo"), max_pixels)
        except Unreadable as error:
            return str(error)

    def write(file: str, pixels: np.ndarray, probabilities: np.ndarray) -> Predicted:
        labels = predicted_labels(probabilities, *pixels.shape[:2])
        mask = os.path.join("masks", names[file])
        save_png(mask_picture(labels, model.spec), os.path.join(output, mask))
        overlay = os.path.join("overlays", names[file]) if overlays else None
        if overlay is not None:
            save_png(overlay_picture(pixels, labels, model.spec), os.path.join(output, overlay), compress_level=1)
        return Predicted(file, mask, overlay, *labels.shape, class_shares(labels, model.spec))

    # Pillow, TensorFlow and zlib leave the interpreter free while they work.
    with ThreadPoolExecutor(min(_BATCH, os.cpu_count() or 1)) as pool:
        for batch in _batches(files):
            found = dict(zip(batch, pool.map(read, batch), strict=True))
            result.skipped.update({file: why for file, why in found.items() if isinstance(why, str)})
            photos = {file: photo for file, photo in found.items() if not isinstance(photo, str)}
            if photos:
                answers = model.probabilities([jpeg for jpeg, _ in photos.values()])
                result.photos.extend(pool.map(write, photos, [pixels for _, pixels in photos.values()], answers))
            done(len(batch))
    return result


def _batches(files: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(files), _BATCH):
        yield files[start : start + _BATCH]


def class_shares(labels: np.ndarray, spec: FeatureSpec) -> dict[str, float]:
    """Class name -> its share of the pixels of uint8[h, w] labels."""
    counts = np.bincount(labels.ravel(), minlength=spec.num_classes)
    return {name: count / labels.size for name, count in zip(spec.class_names, counts.tolist(), strict=True)}
