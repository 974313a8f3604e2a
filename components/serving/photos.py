"""Looks at the header of a photo before anything decodes it, and turns it upright.

TensorFlow's decoder reads JPEG, PNG, GIF and BMP, allocates what the header says and does not look at EXIF.
"""

import io

import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

from components.ingest.opening import Unreadable
from components.ingest.reader import upright_jpeg
from components.serving.request_error import RequestError
from trainer.features import IMAGE

_ORIENTATION = 0x0112
_DECODED = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "GIF": "GIF", "BMP": "BMP"}
_BROKEN_HEADER = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError)


def checked_photo(encoded: bytes, max_pixels: int) -> bytes:
    """A photo that the model may decode; a JPEG that is turned by EXIF is encoded upright, others keep their bytes.

    Args:
      encoded: JPEG, PNG, GIF or BMP.
      max_pixels: of all frames together, since TensorFlow reads them all.

    Raises:
      RequestError: 400 if it is no such photo, 413 if it is too large.
    """
    kind, orientation = _checked_header(encoded, max_pixels)
    if kind != "JPEG" or orientation in (0, 1):
        return encoded
    try:
        return upright_jpeg(encoded, max_pixels)[0]
    except Unreadable as error:
        raise RequestError(400, f"the photo cannot be decoded: {error.detail}") from error


def check_example(serialised: bytes, max_pixels: int) -> None:
    """Refuses a serialised raw example whose photo `checked_photo` would refuse; nothing is turned.

    Raises:
      RequestError: 400 if it is no example of one photo, 413 if the photo is too large.
    """
    try:
        photos = tf.train.Example.FromString(serialised).features.feature[IMAGE].bytes_list.value
    except DecodeError as error:
        raise RequestError(400, "an example is no serialised tf.train.Example") from error
    if len(photos) != 1:
        raise RequestError(400, f"an example holds {len(photos)} photos in its feature {IMAGE!r}; it must hold one")
    _checked_header(photos[0], max_pixels)


def _checked_header(encoded: bytes, max_pixels: int) -> tuple[str, int]:
    """The photo's format and its EXIF orientation, from its header."""
    try:
        opened = Image.open(io.BytesIO(encoded))
        frames = getattr(opened, "n_frames", 1) if opened.format == "GIF" else 1
    except _BROKEN_HEADER as error:
        raise RequestError(400, "the photo cannot be decoded: it is no JPEG, PNG, GIF or BMP, or damaged") from error
    if opened.format not in _DECODED:
        raise RequestError(400, f"the photo is a {opened.format}; the model decodes JPEG, PNG, GIF and BMP")
    if opened.width * opened.height * frames > max_pixels:
        size = f"{opened.width}x{opened.height}" + (f"x{frames}" if frames > 1 else "")
        raise RequestError(413, f"the photo has {size} pixels, more than data.max_pixels {max_pixels}; shrink it")
    return _DECODED[opened.format], _orientation(opened)


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except _BROKEN_HEADER:
        return 1
