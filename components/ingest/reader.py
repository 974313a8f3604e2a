"""Opens one photo and its mask and trusts neither: what comes out decodes later, what does not is refused by name.

    pair = read_pair(photo_bytes, mask_bytes, spec, settings)      # raises Unreadable("mask_size", "...")

Clean RGB JPEGs and one-channel PNGs keep their bytes; anything else is opened with Pillow and encoded once.

Every JPEG is decoded strictly. Pillow and TensorFlow, whose decoder the transform graph uses, only get a warning from
libjpeg when data inside are damaged, drop it, and hand out a photo that is grey or shifted from there on.
"""

import io
import os
import stat
from dataclasses import dataclass

import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from components.ingest.duplicates import MIN_SIDE, perceptual_hash
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec

_ORIENTATION = 0x0112
_JPEG_QUALITY = 95
# Pillow reads far more, some of it by starting other programs (EPS).
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
# A record holds less than 2 GiB: photo, mask and the rest.
_MAX_FILE_BYTES = 512 << 20
# `_open` holds every header against data.max_pixels; Pillow's own limit would refuse at another number.
Image.MAX_IMAGE_PIXELS = None
_PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError)


class Unreadable(Exception):
    """Why a pair is quarantined: a reason that is counted, and a detail for the person who looks."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class ReadPair:
    """A pair that can be trusted.

    Attributes:
      image: an RGB JPEG, upright.
      mask: a one-channel 8-bit PNG of the same size, the source's own values.
      height, width: of both, in pixels.
      brightness: mean of the pixels in 0..1.
      class_shares: share of each class among the counted pixels, 0..1, in label order.
      perceptual_hash: of the photo, see `duplicates.perceptual_hash`.
    """

    image: bytes
    mask: bytes
    height: int
    width: int
    brightness: float
    class_shares: list[float]
    perceptual_hash: str | None


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
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Unreadable(f"unreadable_{what}", error.strerror or str(error)) from error


def _open(encoded: bytes, what: str, max_pixels: int) -> Image.Image:
    """Opens without decoding; the header alone decides whether it is too large."""
    if not encoded:
        raise Unreadable(f"empty_{what}", "zero bytes")
    try:
        opened = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise Unreadable(f"undecodable_{what}", "no image format that can be read") from error
    except _PILLOW_ERRORS as error:
        raise Unreadable(f"undecodable_{what}", str(error)) from error
    if opened.width * opened.height > max_pixels:
        raise Unreadable(
            f"oversized_{what}", f"{opened.width}x{opened.height} pixels are more than data.max_pixels {max_pixels}"
        )
    return opened


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except (*_PILLOW_ERRORS, TypeError, KeyError):
        return 1


def _upright_rgb(opened: Image.Image, encoded: bytes) -> Image.Image:
    """Any picture as upright RGB; transparency is laid on white."""
    try:
        _check_sums(opened, encoded)
        turned = ImageOps.exif_transpose(opened)
        if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
            layer = turned.convert("RGBA")
            white = Image.new("RGBA", layer.size, "white")
            return Image.alpha_composite(white, layer).convert("RGB")
        if turned.mode.startswith("I"):
            turned = Image.fromarray((np.asarray(turned).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        return turned.convert("RGB")
    except _PILLOW_ERRORS as error:
        raise Unreadable("corrupt_photo", str(error)) from error


def _to_jpeg(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def upright_jpeg(encoded: bytes, max_pixels: int) -> tuple[bytes, np.ndarray]:
    """The photo as an upright RGB JPEG: its own bytes if it is one already, else encoded once.

    Args:
      encoded: a photo: JPEG, PNG, GIF, BMP, WebP or TIFF.
      max_pixels: largest photo that is decoded.

    Returns:
      The JPEG, which TensorFlow decodes too, and its pixels as uint8[h, w, 3].

    Raises:
      Unreadable: with the reason empty_photo, undecodable_photo, corrupt_photo or oversized_photo.
    """
    jpeg, _, pixels = _upright(encoded, max_pixels)
    return jpeg, pixels


def _upright(encoded: bytes, max_pixels: int, min_side: int = 0) -> tuple[bytes, tuple[int, int], np.ndarray]:
    """`upright_jpeg` with height and width of the JPEG, and pixels that need be no more than `min_side` each way."""
    opened = _open(encoded, "photo", max_pixels)
    if opened.format == "JPEG" and opened.mode == "RGB" and _orientation(opened) in (0, 1):
        return encoded, opened.size[::-1], _jpeg_pixels(encoded, opened.size, min_side=min_side)
    if opened.format in ("JPEG", "MPO"):
        _jpeg_pixels(encoded, opened.size, "GRAY")
    upright = _upright_rgb(opened, encoded)
    jpeg = _to_jpeg(upright)
    return jpeg, upright.size[::-1], simplejpeg.decode_jpeg(jpeg, min_height=min_side, min_width=min_side)


def _jpeg_pixels(encoded: bytes, size: tuple[int, int], colours: str = "RGB", min_side: int = 0) -> np.ndarray:
    """Decodes what every decoder of the house takes, and takes no warning for an answer.

    Args:
      encoded: a JPEG.
      size: width and height that Pillow found and that are small enough; two parsers may differ over a forged header.
      colours: RGB or GRAY.
      min_side: pixels that are enough each way, 0 for all. All of the data are read and checked whatever it is; only
        the arithmetic from coefficients to pixels gets less.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(encoded)
        if (width, height) != size:
            raise Unreadable("corrupt_photo", f"one header says {size[0]}x{size[1]}, another {width}x{height}")
        # TensorFlow knows fewer kinds of JPEG than libjpeg-turbo; this reads no more than the header.
        tf.io.extract_jpeg_shape(tf.constant(encoded))
        return simplejpeg.decode_jpeg(encoded, colours, min_height=min_side, min_width=min_side, strict=True)
    except ValueError as error:
        raise Unreadable("corrupt_photo", str(error)) from error
    except tf.errors.InvalidArgumentError as error:
        raise Unreadable("corrupt_photo", _plain(error)) from error


def _plain(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the node it names before and the operation it names after."""
    return error.message.splitlines()[0].split("}} ")[-1].split(" [Op:")[0]


def _check_sums(opened: Image.Image, encoded: bytes) -> None:
    """Pillow decodes a PNG without looking at its checksums."""
    if opened.format == "PNG":
        Image.open(io.BytesIO(encoded), formats=_FORMATS).verify()


def _read_mask(encoded: bytes, turn: int, max_pixels: int) -> tuple[bytes, np.ndarray]:
    """The mask as PNG bytes and as uint8[h, w] of the source's own values."""
    opened = _open(encoded, "mask", max_pixels)
    if opened.format == "PNG" and opened.mode == "L" and turn in (0, 1):
        try:
            return encoded, tf.io.decode_png(tf.constant(encoded), channels=1).numpy()[:, :, 0]
        except tf.errors.InvalidArgumentError as error:
            raise Unreadable("corrupt_mask", _plain(error)) from error
    try:
        _check_sums(opened, encoded)
        if turn not in (0, 1):
            opened.getexif()[_ORIENTATION] = turn
            opened = ImageOps.exif_transpose(opened)
        values = np.asarray(opened)
    except _PILLOW_ERRORS as error:
        raise Unreadable("corrupt_mask", str(error)) from error
    if values.ndim == 3:
        colour = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
        if (colour != colour[..., :1]).any():
            raise Unreadable("mask_in_colour", f"a mask of mode {opened.mode} holds colours, not class values")
        values = values[..., 0]
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise Unreadable("mask_value", f"value {values.max()} is not in 0..255")
    values = np.ascontiguousarray(values, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values, "L").save(buffer, "PNG")
    return buffer.getvalue(), values


def _class_shares(values: np.ndarray, spec: FeatureSpec) -> list[float]:
    # One comparison per value is five times as fast as a histogram, which takes pixel after pixel.
    counts = {value: np.count_nonzero(values == value) for value in spec.mask_values}
    if sum(counts.values()) != values.size:
        strange = sorted(set(np.unique(values).tolist()) - counts.keys())
        raise Unreadable("mask_value", f"values {strange[:5]} are not in the configured {sorted(spec.mask_values)}")
    per_class = np.array([sum(counts[value] for value in c.values) for c in spec.classes], np.float64)
    if not per_class.sum():
        raise Unreadable("mask_all_ignored", "no pixel of the mask counts")
    return (per_class / per_class.sum()).tolist()


def read_pair(photo: bytes, mask: bytes, spec: FeatureSpec, settings: DataSettings) -> ReadPair:
    """Checks and normalises one pair.

    Args:
      photo: an encoded photo: JPEG, PNG, GIF, BMP, WebP or TIFF.
      mask: an encoded mask: one channel, a palette's indices, or grey in several channels.
      spec: the mask values that may occur.
      settings: limits and orientation.

    Raises:
      Unreadable: with one of the reasons empty_, undecodable_, corrupt_ or oversized_ photo or mask, mask_size,
        mask_value, mask_in_colour, mask_all_ignored.
    """
    image, size, pixels = _upright(photo, settings.max_pixels, MIN_SIDE)
    turn = _orientation(_open(photo, "photo", settings.max_pixels)) if settings.masks_follow_exif else 1
    png, values = _read_mask(mask, turn, settings.max_pixels)
    if values.shape != size:
        (mh, mw), (h, w) = values.shape, size
        raise Unreadable("mask_size", f"the mask is {mw}x{mh}, its photo {w}x{h}")
    return ReadPair(
        image=image,
        mask=png,
        height=size[0],
        width=size[1],
        brightness=float(pixels.mean() / 255.0),
        class_shares=_class_shares(values, spec),
        perceptual_hash=perceptual_hash(pixels),
    )
