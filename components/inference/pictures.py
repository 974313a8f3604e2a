"""Masks and overlays as pictures."""

import os

import numpy as np
from PIL import Image, ImageColor

from trainer.features import FeatureSpec


def colour_table(spec: FeatureSpec) -> np.ndarray:
    """uint8[256, 3]: the RGB colour of each label; ignored and unused labels are grey."""
    table = np.full([256, 3], 128, np.uint8)
    for label, colour in enumerate(spec.colours):
        table[label] = ImageColor.getrgb(colour)
    return table


def mask_picture(labels: np.ndarray, spec: FeatureSpec) -> Image.Image:
    """A palette picture whose pixels are the user's own mask values and whose colours are the classes'.

    Args:
      labels: uint8[h, w], 0..C-1.
      spec: classes.
    """
    values = spec.value_table()
    palette = np.zeros([256, 3], np.uint8)
    palette[values] = colour_table(spec)[: spec.num_classes]
    picture = Image.fromarray(values[labels], "P")
    picture.putpalette(palette.ravel().tolist())
    return picture


def overlay_picture(photo: np.ndarray, labels: np.ndarray, spec: FeatureSpec, opacity: float = 0.5) -> Image.Image:
    """The photo with the classes' colours over it; the background class stays clear.

    Args:
      photo: uint8[h, w, 3], RGB.
      labels: uint8[h, w].
      spec: classes.
      opacity: of the colours, 0..1.
    """
    weight = np.where(labels == spec.background_label, 0, round(255 * opacity)).astype(np.uint8)
    return Image.composite(coloured(labels, spec), Image.fromarray(photo, "RGB"), Image.fromarray(weight, "L"))


def coloured(labels: np.ndarray, spec: FeatureSpec) -> Image.Image:
    """Labels as an RGB picture in the classes' colours; ignored pixels are grey."""
    return Image.fromarray(colour_table(spec)[labels], "RGB")


def save_png(picture: Image.Image, path: str, compress_level: int = 6) -> None:
    """Writes a PNG so that a reader never sees half of it.

    Args:
      picture: what to write.
      path: where to; its folder is made where it is missing.
      compress_level: 0 to 9. At 1 a photo takes a third of the time and a sixth more bytes than at 6.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = path + ".part"
    picture.save(part, "PNG", compress_level=compress_level)
    os.replace(part, path)
