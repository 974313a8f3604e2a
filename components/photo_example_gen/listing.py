"""Listings: which photos of a folder batch inference reads, named by their content as a window of spans is.

The path holds the hash of the listing, and the listing the hash of each photo. So TFX's cache sees a new path exactly
when a photo is added, removed or changed.
"""

import json
import os

from components.content_path import write_by_content
from components.errors import UsageError
from components.ingest.sources import PHOTO_SUFFIXES, photo_files
from components.ingest.spans import Record, file_sha256


class ListedPhoto(Record):
    """A photo's file name, and the SHA-256 of its bytes; None if they cannot be read."""

    name: str
    sha256: str | None


class Listing(Record):
    """The photos of one folder, by name, and the largest that is decoded, in pixels."""

    folder: str
    max_pixels: int
    photos: list[ListedPhoto]


def readable_sha256(path: str) -> str | None:
    """Hexadecimal SHA-256 of a file; None for one that cannot be read."""
    try:
        return file_sha256(path)
    except OSError:
        return None


def write_listing(images: str, max_pixels: int, folder: str) -> str:
    """Lists a folder of photos.

    Args:
      images: the folder; files with other suffixes and hidden ones are ignored.
      max_pixels: largest photo that is decoded.
      folder: where listings are kept.

    Returns:
      The listing's path, the same for the same content.

    Raises:
      UsageError: if the folder does not exist or holds no photo.
    """
    files = photo_files(images)
    if not files:
        raise UsageError(
            f"--images {images}: holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))}); name another folder"
        )
    photos = [ListedPhoto(name=os.path.basename(file), sha256=readable_sha256(file)) for file in sorted(files)]
    listing = Listing(folder=os.path.abspath(images), max_pixels=max_pixels, photos=photos)
    return write_by_content(folder, "photos.json", json.dumps(listing.model_dump(), indent=1) + "\n")
