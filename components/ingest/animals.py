"""The shapes of drawn animals: strokes of a round brush, in three poses, with the ears of a cat or of a dog."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

_MIN_COVER, _MAX_COVER = 0.16, 0.44
_SUPERSAMPLING = 2

# Strokes of an animal that looks to the right, back to front, in units of about half a body, y down: from (x, y) to
# (x, y), radius at both ends, shade, bend. The last is the neck, whose end carries the head.
_POSES = {
    "standing": [
        (-0.72, 0.05, -0.7, 1.0, 0.26, 0.15, 0.7, 0), (0.6, 0.05, 0.75, 1.0, 0.26, 0.15, 0.7, 0),
        (-0.95, -0.1, -1.5, -0.4, 0.17, 0.12, 0.9, 0.2),
        (-0.72, 0.05, -0.9, 1.05, 0.26, 0.15, 0.95, 0), (0.6, 0.05, 0.5, 1.05, 0.26, 0.15, 0.95, 0),
        (-0.72, 0, 0.62, -0.05, 0.45, 0.49, 1, -0.03), (0.6, -0.15, 1.05, -0.55, 0.36, 0.32, 1, 0),
    ],
    "sitting": [
        (-0.6, 0.85, -1.35, 0.3, 0.17, 0.13, 0.9, 0.2), (0.47, 0, 0.6, 1.05, 0.24, 0.15, 0.75, 0),
        (-0.32, 0.55, 0.15, -0.25, 0.62, 0.4, 1, 0), (0.23, 0, 0.3, 1.1, 0.24, 0.16, 1, 0),
        (-0.3, 0.9, 0.05, 1.02, 0.3, 0.2, 0.95, 0), (0.15, -0.25, 0.27, -0.85, 0.4, 0.32, 1, 0),
    ],
    "lying": [
        (-1.0, 0.3, -1.6, 0.1, 0.18, 0.13, 0.9, 0.2), (0.6, 0.3, 1.45, 0.36, 0.17, 0.14, 0.7, 0),
        (-0.72, 0.1, 0.55, 0.05, 0.52, 0.45, 1, -0.04), (0.5, 0.35, 1.3, 0.48, 0.18, 0.15, 1, 0),
        (-0.75, 0.42, -0.2, 0.5, 0.28, 0.15, 0.95, 0), (0.5, 0, 0.9, -0.35, 0.4, 0.32, 1, 0),
    ],
}  # fmt: skip
# The same for a head of radius 1 seen from the front; the last number is how far the part follows the look. Parts off
# the middle are mirrored.
_POINTED_EARS = [(0.5, -0.45, 0.78, -1.35, 0.36, 0.07, 0.9, 0)]
_SKULL = [(0, 0, 0, 0.01, 1, 1, 1.08, 0)]
_CAT_FACE = [(0.12, 0.42, 0.2, 0.42, 0.24, 0.22, 1.25, 1)]
_DOG_FACE = [(0.85, -0.5, 1.12, 0.6, 0.24, 0.34, 0.7, 0), (0, 0.3, 0, 0.5, 0.46, 0.5, 1.25, 1)]
_EYES_AND_NOSE = [
    (0.42, -0.15, 0.42, -0.1, 0.2, 0.2, 1.7, 1), (0.42, -0.14, 0.42, -0.08, 0.11, 0.11, 0.1, 1.1),
    (0, 0.24, 0, 0.27, 0.19, 0.17, 0.1, 1.2),
]  # fmt: skip


class _Stroke(NamedTuple):
    """A round brush moved along a path: what every part of an animal is made of.

    Attributes:
      path: float[n, 3]: x, y and the brush's radius.
      shade: factor on the fur's brightness.
      rimmed: True if a dark rim sets it off from the parts behind it.
    """

    path: np.ndarray
    shade: float
    rimmed: bool


def _stroke(start: np.ndarray, end: np.ndarray, radii, shade: float, bend: float = 0, rimmed: bool = True) -> _Stroke:
    t = np.linspace(0, 1, 20)[:, np.newaxis]
    across = np.array([start[1] - end[1], end[0] - start[0]])
    line = start + t * (end - start) + 4 * t * (1 - t) * bend * across
    return _Stroke(np.hstack([line, radii[0] + t * (radii[1] - radii[0])]), shade, rimmed)


def _animal(cat: bool, rng: np.random.Generator) -> list[_Stroke]:
    """One animal in a random pose: pointed ears for cats, hanging ones and a muzzle for dogs."""
    parts = []
    for row in _POSES[rng.choice(list(_POSES))]:
        start, end = np.array(row[:2]) + rng.normal(0, 0.03, 2), np.array(row[2:4]) + rng.normal(0, 0.11, 2)
        parts.append(_stroke(start, end, row[4:6], row[6], row[7]))
    parts[-1] = parts[-1]._replace(rimmed=False)
    middle, size, look = end, rng.uniform(0.41, 0.5), rng.uniform(-0.12, 0.25)
    head = (_POINTED_EARS + _SKULL + _CAT_FACE if cat else _SKULL + _DOG_FACE) + _EYES_AND_NOSE
    for x0, y0, x1, y1, r0, r1, shade, follows in head:
        for side in (-1, 1) if x0 else (1,):
            ends = [middle + size * np.array([look * follows + side * x, y]) for x, y in ((x0, y0), (x1, y1))]
            parts.append(_stroke(*ends, (size * r0, size * r1), shade, rimmed=not follows))
    return parts


def _raster(parts: list[_Stroke], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Paints parts whose paths are in pixels, back to front, into (silhouette, shade), both float32[height, width]."""
    size = (width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    silhouette, shade = Image.new("L", size, 0), Image.new("L", size, 100)

    def paint(image: Image.Image, path: np.ndarray, value: float) -> None:
        draw = ImageDraw.Draw(image)
        for x, y, r in path * _SUPERSAMPLING:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=round(value))

    for part in parts:
        if part.rimmed:
            paint(shade, part.path + (0, 0, 1.2), 60 * part.shade)
        paint(shade, part.path, 100 * part.shade)
        paint(silhouette, part.path, 255)
    silhouette, shade = (np.asarray(image.reduce(_SUPERSAMPLING), np.float32) for image in (silhouette, shade))
    return silhouette / 255, shade / 100


def place_animal(cat: bool, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Draws one animal, turned, flipped, scaled and moved until it covers its share of the photo.

    Args:
      cat: pointed ears, else a dog's hanging ones.
      height, width: of the photo, in pixels.
      rng: every choice comes from it.

    Returns:
      silhouette float32[height, width] in 0..1; shade float32[height, width], a factor on the fur's brightness; the
      turn in degrees.
    """
    while True:
        parts, turn, flip = _animal(cat, rng), rng.uniform(-25, 25), rng.choice([-1, 1])
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        paths = [part.path @ np.array([[c * flip, s * flip, 0], [-s, c, 0], [0, 0, 1]]) for part in parts]
        low = np.min([(p[:, :2] - p[:, 2:]).min(0) for p in paths], axis=0)
        high = np.max([(p[:, :2] + p[:, 2:]).max(0) for p in paths], axis=0)
        margin = 0.03 * min(height, width)
        room = np.array([width, height]) - 2 * margin
        scale = (room / (high - low)).min() * rng.uniform(0.8, 1.0)
        corner = margin + rng.random(2) * (room - scale * (high - low))
        offset = np.append(corner - scale * low, 0)
        placed = [part._replace(path=path * scale + offset) for part, path in zip(parts, paths, strict=True)]
        silhouette, shade = _raster(placed, height, width)
        if _MIN_COVER <= silhouette.mean() <= _MAX_COVER:
            return silhouette, shade, turn
