"""Reads a mask and trusts nothing: its values come out as the source has them, or it is refused by name."""

import io
import struct

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from components.ingest.opening import ORIENTATION, PILLOW_ERRORS, Unreadable, check_sums, open_image, without_node
from trainer.features import FeatureSpec

# To compare a mask with each is faster than its histogram, which takes pixel after pixel: 20 to 30 us a value for
# 500x375 pixels to 100 to 300 us.
_FEW_VALUES = 6
# Signature, and length and type of the first chunk; after it width and height, then 8 bits of grey.
_PNG, _GREY = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", b"\x08\x00"


def read_mask(encoded: bytes, turn: int, max_pixels: int) -> tuple[bytes, np.ndarray]:
    """Reads a mask.

    Args:
      encoded: one channel, a palette's indices, or grey in several channels.
      turn: orientation as in Exif that the mask is turned by; 0 and 1 leave it.
      max_pixels: largest mask that is decoded.

    Returns:
      The mask as PNG bytes and as uint8[h, w] of the source's own values.

    Raises:
      Unreadable: with one of the reasons empty_, undecodable_, corrupt_ or oversized_mask, mask_value, mask_in_colour.
    """
    if turn in (0, 1) and _is_grey_png(encoded, max_pixels):
        try:
            return encoded, tf.io.decode_png(tf.constant(encoded), channels=1).numpy()[:, :, 0]
        except tf.errors.InvalidArgumentError as error:
            raise Unreadable("corrupt_mask", without_node(error)) from error
    opened = open_image(encoded, "mask", max_pixels)
    try:
        check_sums(opened, encoded)
        if turn not in (0, 1):
            opened.getexif()[ORIENTATION] = turn
            opened = ImageOps.exif_transpose(opened)
        values = np.asarray(opened)
    except PILLOW_ERRORS as error:
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


def _is_grey_png(encoded: bytes, max_pixels: int) -> bool:
    """Whether a header is that of a PNG of one channel of 8 bits and of so many pixels at most."""
    if not encoded.startswith(_PNG) or encoded[24:26] != _GREY:
        return False
    width, height = struct.unpack(">II", encoded[16:24])
    return width * height <= max_pixels


def _pixels_by_value(values: np.ndarray, expected: frozenset[int]) -> dict[int, int]:
    """How many pixels of a uint8 mask have which value; some may be there with 0."""
    if len(expected) <= _FEW_VALUES:
        counts = {value: np.count_nonzero(values == value) for value in expected}
        if sum(counts.values()) == values.size:
            return counts
    # NumPy's bincount turns every pixel into eight bytes first and takes twice as long.
    return dict(enumerate(Image.fromarray(values, "L").histogram()))


def class_shares(values: np.ndarray, spec: FeatureSpec) -> list[float]:
    """The share of each class among the pixels that count.

    Args:
      values: uint8[h, w].
      spec: which values are which class, and which are ignored.

    Returns:
      0..1 for each class, in label order; their sum is 1.

    Raises:
      Unreadable: with the reason mask_value for any other value, mask_all_ignored if no pixel counts.
    """
    counts = _pixels_by_value(values, spec.mask_values)
    strange = [value for value, pixels in counts.items() if pixels and value not in spec.mask_values]
    if strange:
        raise Unreadable("mask_value", f"values {strange[:5]} are not in the configured {sorted(spec.mask_values)}")
    per_class = np.array([sum(counts[value] for value in c.values) for c in spec.classes], np.float64)
    if not per_class.sum():
        raise Unreadable("mask_all_ignored", "no pixel of the mask counts")
    return (per_class / per_class.sum()).tolist()
