"""Opens one photo and its mask and trusts neither: what comes out decodes later, what does not is refused by name.

    pair = read_pair(photo_bytes, mask_bytes, spec, settings)      # raises Unreadable("mask_size", "...")

Clean RGB JPEGs and one-channel PNGs keep their bytes; anything else is opened with Pillow and encoded once.

Every JPEG is decoded strictly. Pillow and TensorFlow, whose decoder the transform graph uses, only get a warning from
libjpeg when data inside are damaged, drop it, and hand out a photo that is grey or shifted from there on.
"""

import io
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image, ImageOps

from components.ingest.duplicates import MIN_SIDE, perceptual_hash
from components.ingest.mask_reader import class_shares, read_mask
from components.ingest.opening import PILLOW_ERRORS, Unreadable, check_sums, open_image, orientation, without_node
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec

_JPEG_QUALITY = 95
# Starts of a frame that is neither baseline, extended nor progressive with Huffman codes (ITU-T T.81, table B.1). Those
# three TensorFlow knows, so a header without these bytes need not be shown to it.
_OTHER_FRAME = re.compile(rb"\xff[\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]")


class ReadPhoto(NamedTuple):
    """A photo that can be trusted.

    Attributes:
      image, brightness, perceptual_hash: see `ReadPair`.
      size: height and width, in pixels.
      turn: the orientation, as in Exif, that its mask is turned by; 1 leaves it.
    """

    image: bytes
    size: tuple[int, int]
    brightness: float
    perceptual_hash: str | None
    turn: int


@dataclass(frozen=True)
class ReadPair:
    """A pair that can be trusted.

    Attributes:
      image: an RGB JPEG, upright.
      mask: a one-channel 8-bit PNG of the same size, the source's own values.
      height, width: of both, in pixels.
      brightness: mean luma of the pixels (BT.601, as JPEG stores it) in 0..1.
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


def _upright_rgb(opened: Image.Image, encoded: bytes) -> Image.Image:
    """Any picture as upright RGB; transparency is laid on white."""
    try:
        check_sums(opened, encoded)
        turned = ImageOps.exif_transpose(opened)
        if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
            layer = turned.convert("RGBA")
            white = Image.new("RGBA", layer.size, "white")
            return Image.alpha_composite(white, layer).convert("RGB")
        if turned.mode.startswith("I"):
            turned = Image.fromarray((np.asarray(turned).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        return turned.convert("RGB")
    except PILLOW_ERRORS as error:
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
    jpeg, _, pixels = _upright(encoded, max_pixels, "RGB")
    return jpeg, pixels


def _upright(
    encoded: bytes, max_pixels: int, colours: str, min_side: int = 0
) -> tuple[bytes, tuple[int, int], np.ndarray]:
    """The JPEG of `upright_jpeg`, its height and width, and pixels as `_jpeg_pixels` gives them."""
    opened = open_image(encoded, "photo", max_pixels)
    if opened.format == "JPEG" and opened.mode == "RGB" and orientation(opened) in (0, 1):
        # Pillow has read up to the first scan, which is all that TensorFlow needs to say no.
        _check_kind(encoded[: opened.fp.tell()])
        return encoded, opened.size[::-1], _jpeg_pixels(encoded, opened.size, colours, min_side)
    if opened.format in ("JPEG", "MPO"):
        _jpeg_pixels(encoded, opened.size, "GRAY")
    upright = _upright_rgb(opened, encoded)
    jpeg = _to_jpeg(upright)
    return jpeg, upright.size[::-1], _jpeg_pixels(jpeg, upright.size, colours, min_side)


def _check_kind(header: bytes) -> None:
    """Refuses the kinds of JPEG that libjpeg-turbo knows and TensorFlow does not."""
    if not _OTHER_FRAME.search(header):
        return
    try:
        tf.io.extract_jpeg_shape(tf.constant(header))
    except tf.errors.InvalidArgumentError as error:
        raise Unreadable("corrupt_photo", without_node(error)) from error


def _jpeg_pixels(encoded: bytes, size: tuple[int, int], colours: str, min_side: int = 0) -> np.ndarray:
    """Decodes a JPEG and takes no warning for an answer.

    Args:
      encoded: a JPEG.
      size: width and height that Pillow found and that are small enough; two parsers may differ over a forged header.
      colours: RGB or GRAY.
      min_side: pixels that are enough each way, 0 for all. All of the data are read and checked whatever it is, and in
        GRAY as well; only the arithmetic from coefficients to pixels gets less.

    Returns:
      uint8[h, w, 3], or uint8[h, w, 1] of GRAY.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(encoded)
        if (width, height) != size:
            raise Unreadable("corrupt_photo", f"one header says {size[0]}x{size[1]}, another {width}x{height}")
        return simplejpeg.decode_jpeg(encoded, colours, min_height=min_side, min_width=min_side, strict=True)
    except ValueError as error:
        raise Unreadable("corrupt_photo", str(error)) from error


def read_photo(photo: bytes, settings: DataSettings) -> ReadPhoto:
    """Checks and normalises one photo; see `read_pair`."""
    image, size, grey = _upright(photo, settings.max_pixels, "GRAY", MIN_SIDE)
    turn = orientation(open_image(photo, "photo", settings.max_pixels)) if settings.masks_follow_exif else 1
    return ReadPhoto(image, size, float(grey.mean() / 255.0), perceptual_hash(grey[..., 0]), turn)


def with_mask(photo: ReadPhoto, mask: bytes, spec: FeatureSpec, settings: DataSettings) -> ReadPair:
    """Checks and normalises the mask of a photo; see `read_pair`."""
    png, values = read_mask(mask, photo.turn, settings.max_pixels)
    if values.shape != photo.size:
        (mh, mw), (h, w) = values.shape, photo.size
        raise Unreadable("mask_size", f"the mask is {mw}x{mh}, its photo {w}x{h}")
    return ReadPair(
        image=photo.image,
        mask=png,
        height=photo.size[0],
        width=photo.size[1],
        brightness=photo.brightness,
        class_shares=class_shares(values, spec),
        perceptual_hash=photo.perceptual_hash,
    )


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
    return with_mask(read_photo(photo, settings), mask, spec, settings)
