"""Opens files and pictures, and names what is wrong with those that cannot be used."""

import io
import os
import stat

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

ORIENTATION = 0x0112
# Pillow reads far more, some of it by starting other programs (EPS).
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
# A record holds less than 2 GiB: photo, mask and the rest.
_MAX_FILE_BYTES = 512 << 20
# `open_image` holds every header against data.max_pixels; Pillow's own limit would refuse at another number.
Image.MAX_IMAGE_PIXELS = None
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError)


class Unreadable(Exception):
    """Why a pair is quarantined: a reason that is counted, and a detail for the person who looks."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def file_bytes(path: str, what: str) -> bytes:
    """Reads a file.

    Raises:
      Unreadable: with the reason `unreadable_<what>`, or `oversized_<what>` for more bytes than a record holds.
    """
    try:
        status = os.stat(path)
        # A named pipe would be waited for without end.
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"unreadable_{what}", "no regular file")
        if status.st_size > _MAX_FILE_BYTES:
            raise Unreadable(f"oversized_{what}", f"{status.st_size} bytes are more than {_MAX_FILE_BYTES}")
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError as error:
        raise Unreadable(f"unreadable_{what}", error.strerror or str(error)) from error


def open_image(encoded: bytes, what: str, max_pixels: int) -> Image.Image:
    """Opens a picture without decoding it.

    Args:
      encoded: the bytes of a file.
      what: photo or mask, for the reasons.
      max_pixels: the header alone decides whether there are more.

    Raises:
      Unreadable: with the reason `empty_<what>`, `undecodable_<what>` or `oversized_<what>`.
    """
    if not encoded:
        raise Unreadable(f"empty_{what}", "zero bytes")
    try:
        opened = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise Unreadable(f"undecodable_{what}", "no image format that can be read") from error
    except PILLOW_ERRORS as error:
        raise Unreadable(f"undecodable_{what}", str(error)) from error
    if opened.width * opened.height > max_pixels:
        raise Unreadable(
            f"oversized_{what}", f"{opened.width}x{opened.height} pixels are more than data.max_pixels {max_pixels}"
        )
    return opened


def orientation(opened: Image.Image) -> int:
    """The orientation that Exif gives, 1 (upright) where it gives none."""
    try:
        return int(opened.getexif().get(ORIENTATION, 1))
    except (*PILLOW_ERRORS, TypeError, KeyError):
        return 1


def without_node(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the node it names before and the operation it names after."""
    return error.message.splitlines()[0].split("}} ")[-1].split(" [Op:")[0]


def check_sums(opened: Image.Image, encoded: bytes) -> None:
    """Pillow decodes a PNG without looking at its checksums."""
    if opened.format == "PNG":
        Image.open(io.BytesIO(encoded), formats=_FORMATS).verify()
