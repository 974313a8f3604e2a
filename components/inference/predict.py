"""Predicts masks for photo files of any kind; a broken one is named and skipped."""

import os
from collections.abc import Callable, Iterator

from components.errors import UsageError
from components.inference.pictures import mask_picture, overlay_picture, save_png
from components.inference.served_model import ServedModel
from components.ingest.reader import Unreadable, file_bytes, upright_jpeg
from components.ingest.sources import PHOTO_SUFFIXES, photo_files

_BATCH = 16


def expand(paths: list[str]) -> list[str]:
    """Photo files: each given file, and for a folder every photo in it.

    Raises:
      UsageError: if a path does not exist, a folder holds no photo or two photos would write one mask.
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
    by_stem: dict[str, str] = {}
    for file in files:
        other = by_stem.setdefault(_stem(file), file)
        if other != file:
            raise UsageError(f"{file}: would write the same mask as {other}; predict them into two folders")
    return list(by_stem.values())


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def predict(
    model: ServedModel, files: list[str], output: str, max_pixels: int, done: Callable[[int], None]
) -> dict[str, str]:
    """Writes `masks/<stem>.png` and `overlays/<stem>.png`, both of the photo's own upright size.

    Args:
      model: what to ask.
      files: photos.
      output: the folder to write to; it is made where it is missing.
      max_pixels: largest photo that is decoded.
      done: called with the number of photos finished since the last call.

    Returns:
      file -> why it could not be read.
    """
    broken: dict[str, str] = {}
    for batch in _batches(files):
        photos = {}
        for file in batch:
            try:
                photos[file] = upright_jpeg(file_bytes(file, "photo"), max_pixels)
            except Unreadable as error:
                broken[file] = str(error)
        if photos:
            sizes = [pixels.shape[:2] for _, pixels in photos.values()]
            found = model.labels([jpeg for jpeg, _ in photos.values()], sizes)
            for (file, (_, pixels)), labels in zip(photos.items(), found, strict=True):
                overlay = overlay_picture(pixels, labels, model.spec)
                save_png(mask_picture(labels, model.spec), os.path.join(output, "masks", _stem(file) + ".png"))
                save_png(overlay, os.path.join(output, "overlays", _stem(file) + ".png"))
        done(len(batch))
    return broken


def _batches(files: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(files), _BATCH):
        yield files[start : start + _BATCH]
