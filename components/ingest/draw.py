"""Draws a small dataset in the layout of Oxford-IIIT Pets, so that the pipeline runs where nothing can be downloaded.

    draw_dataset("data/drawn")     # data/drawn/images/*.jpg, annotations/trimaps/*.png, annotations/*.txt

Each photo shows one animal. Its two colours come from the same few as the background's, so what tells them apart is
texture (fine fur against coarse surroundings) and shape, not colour: a net learns it in a minute, a threshold cannot.
Lengths of a pattern are in pixels of the model's input, 128 x 96, and grow with the photo by its `unit`.
"""

import os

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from components.errors import UsageError
from components.ingest.animals import place_animal

PET, BACKGROUND, CONTOUR = 1, 2, 3

# Colours of fur, soil, walls and plants (red, green, blue); every photo takes four for all that it shows.
_COLOURS = np.array(
    [
        (236, 226, 205), (214, 180, 132), (178, 124, 72), (122, 78, 48), (62, 50, 46), (198, 200, 204), (140, 146, 152),
        (84, 92, 104), (150, 160, 104), (88, 108, 70), (190, 100, 62), (118, 140, 168), (206, 190, 110), (160, 128, 136)
    ],
    np.float32,
)  # fmt: skip
_TEST_SHARE = 0.3


def _noise(rng: np.random.Generator, height: int, width: int, cell_y: float, cell_x: float) -> np.ndarray:
    """Smooth noise float32[height, width] of zero mean and unit variance, with cells of that many pixels."""
    rows, columns = int(np.ceil(height / cell_y)) + 2, int(np.ceil(width / cell_x)) + 2
    coarse = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    window = (1, 1, 1 + width / cell_x, 1 + height / cell_y)
    field = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC, window))
    return (field - field.mean()) / field.std()


def _stripes(rng: np.random.Generator, size: int, unit: float) -> np.ndarray:
    across = np.arange(size) / (unit * rng.uniform(6, 8))
    return 1.6 * np.sin(2 * np.pi * across + 1.1 * _noise(rng, size, size, 14 * unit, 14 * unit)) + 0.2


def _spots(rng: np.random.Generator, size: int, unit: float) -> np.ndarray:
    v, u = np.indices((size, size)) * (2 * np.pi / (unit * rng.uniform(6.5, 8.5)))
    bends = [1.4 * _noise(rng, size, size, 10 * unit, 10 * unit) for _ in range(2)]
    return 1.6 * (0.5 - np.cos(u + v * 0.5 + bends[0]) - np.cos(v - u * 0.5 + bends[1]))


def _streaks(rng: np.random.Generator, size: int, unit: float) -> np.ndarray:
    return 1.2 * _noise(rng, size, size, unit * rng.uniform(9, 12), 2.4 * unit)


def _speckles(rng: np.random.Generator, size: int, unit: float) -> np.ndarray:
    return 1.5 * _noise(rng, size, size, 2.6 * unit, 2.6 * unit) + 0.4


# The official class id, species (1 cat, 2 dog) and breed id, and a fur of its own.
_BREEDS = {
    "Bengal": ((6, 1, 2), _spots),
    "Maine_Coon": ((21, 1, 7), _stripes),
    "german_shorthaired": ((15, 2, 9), _speckles),
    "yorkshire_terrier": ((37, 2, 25), _streaks),
}


def _painted(pattern: np.ndarray, colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32[h, w] of zero mean -> float32[h, w, 3] between two of the colours, 60 levels of grey apart at least."""
    pair = colours[rng.choice(len(colours), 2, replace=False)]
    grey = pair.mean(1, keepdims=True)
    pair = pair + np.where(grey == grey.max(), 0.5, -0.5) * max(0.0, 60 - float(np.ptp(grey)))
    share = (0.5 + 0.5 * np.tanh(pattern))[..., np.newaxis]
    return pair[0] + share * (pair[1] - pair[0])


def _background(rng: np.random.Generator, height: int, width: int, unit: float, colours: np.ndarray) -> np.ndarray:
    """float32[height, width, 3]: clouds, checks or a gradient, and things that lie about."""
    y, x = np.indices((height, width), np.float32)
    angle, kind = rng.uniform(0, np.pi), rng.integers(3)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if kind == 0:
        pattern = sum(_noise(rng, height, width, c * unit, c * unit) * c / 40 for c in (14, 30, 60))
    elif kind == 1:
        tile = np.pi / (unit * rng.uniform(16, 30))
        pattern = 4 * np.sin(along * tile) * np.sin(across * tile)
    else:
        pattern = (along - along.mean()) / along.std() + 0.3 * _noise(rng, height, width, 20 * unit, 20 * unit)
    image = Image.fromarray(_painted(pattern, colours, rng).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 9)):
        middle, reach = rng.random(2) * (width, height), rng.uniform(5, 29, 2) * unit
        turns = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, rng.choice([3, 4, 6, 24]), endpoint=False)
        corners = middle + reach * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        draw.polygon([tuple(p) for p in corners], fill=tuple(int(v) for v in colours[rng.integers(len(colours))]))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.6 * unit)), np.float32)


def _grown(inside: np.ndarray, radius: int) -> np.ndarray:
    """bool[h, w] -> the same, grown by a disk."""
    (height, width), padded = inside.shape, np.pad(inside, radius, mode="edge")
    dy, dx = np.indices((2 * radius + 1, 2 * radius + 1))
    disk = np.argwhere((dy - radius) ** 2 + (dx - radius) ** 2 <= (radius + 0.3) ** 2)
    return np.logical_or.reduce([padded[top : top + height, left : left + width] for top, left in disk])


def _trimap(silhouette: np.ndarray, unit: float) -> np.ndarray:
    """float32[h, w] in 0..1 -> uint8[h, w] trimap; the contour is 4 to 6 pixels wide, half of it outside the edge."""
    inside, outer, inner = silhouette >= 0.5, 2 if unit < 1.35 else 3, 2 if unit < 1.55 else 3
    trimap = np.where(_grown(~inside, inner), CONTOUR, PET)
    return np.where(_grown(inside, outer), trimap, BACKGROUND).astype(np.uint8)


def _draw_photo(breed: str, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """One RGB photo and its trimap (mode L)."""
    long_side = int(rng.integers(150, 261))
    short_side = int(long_side * rng.uniform(0.75, 0.92))
    height, width = (long_side, short_side) if rng.random() < 0.25 else (short_side, long_side)
    unit = float(np.sqrt(height * width / (128 * 96)))
    colours = _COLOURS[rng.choice(len(_COLOURS), 4, replace=False)] + rng.normal(0, 10, (4, 3)).astype(np.float32)
    (_, species, _), fur = _BREEDS[breed]
    silhouette, shade, turn = place_animal(species == 1, height, width, rng)

    side = int(np.hypot(height, width)) + 2
    coat = Image.fromarray(fur(rng, side, unit).astype(np.float32)).rotate(-turn, Image.Resampling.BILINEAR)
    top, left = (side - height) // 2, (side - width) // 2
    coat = np.asarray(coat)[top : top + height, left : left + width]
    animal = _painted(coat, colours, rng) * shade[..., np.newaxis]

    background = _background(rng, height, width, unit, colours)
    photo = background + silhouette[..., np.newaxis] * (animal - background)
    y, x = np.indices((height, width)) / np.array([height, width]).reshape(2, 1, 1) - 0.5
    light = 1 + rng.uniform(-0.25, 0.25) * x + rng.uniform(-0.25, 0.25) * y
    photo = photo * light[..., np.newaxis] + rng.normal(0, 4, photo.shape)
    return Image.fromarray(photo.clip(0, 255).astype(np.uint8)), Image.fromarray(_trimap(silhouette, unit))


def _write_lists(folder: str, stems_of: dict[str, list[str]]) -> None:
    """The lists of all, of the training and of the test photos; the last 30 % of each breed are for the test."""
    lists = {"list.txt": [], "trainval.txt": [], "test.txt": []}
    for breed, stems in stems_of.items():
        first_test = len(stems) - max(1, round(_TEST_SHARE * len(stems)))
        lines = [" ".join([stem, *map(str, _BREEDS[breed][0])]) + "\n" for stem in stems]
        for name, part in (("list", lines), ("trainval", lines[:first_test]), ("test", lines[first_test:])):
            lists[name + ".txt"].extend(part)
    for name, lines in lists.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.writelines(lines)


def draw_dataset(folder: str, photos: int = 240, seed: int = 17) -> None:
    """Draws photos, trimaps and lists; the first photos of a larger dataset are those of a smaller one.

    Writes `images/<Breed>_<n>.jpg` (RGB, sides of 112 to 260 pixels), `annotations/trimaps/<Breed>_<n>.png` (one
    channel: 1 pet, 2 background, 3 contour) and `annotations/{list,trainval,test}.txt` (lines of name, class id,
    species and breed id). Drawing again writes the same bytes, so a killed call can be repeated.

    Args:
      folder: where to; it may exist.
      photos: how many, two of each breed at least.
      seed: of all that is random, 0 or more.

    Raises:
      UsageError: if there are too few photos, or the folder already holds others.
    """
    if photos < 2 * len(_BREEDS):
        raise UsageError(f"photos: {photos} are too few; draw {2 * len(_BREEDS)} or more, two of each breed")
    images, trimaps = os.path.join(folder, "images"), os.path.join(folder, "annotations", "trimaps")
    stems_of = {breed: [] for breed in _BREEDS}
    order = [list(_BREEDS)[k % len(_BREEDS)] for k in range(photos)]
    for breed in order:
        stems_of[breed].append(f"{breed}_{len(stems_of[breed]) + 1}")
    for path, suffix in ((images, ".jpg"), (trimaps, ".png")):
        os.makedirs(path, exist_ok=True)
        foreign = sorted(set(os.listdir(path)) - {stem + suffix for stems in stems_of.values() for stem in stems})
        if foreign:
            raise UsageError(f"{path}: already holds {foreign[0]}, which is not a drawn photo; name an empty folder")
    for k, breed in enumerate(order):
        photo, trimap = _draw_photo(breed, np.random.default_rng([seed, k]))
        stem = stems_of[breed][k // len(_BREEDS)]
        photo.save(os.path.join(images, stem + ".jpg"), quality=90)
        trimap.save(os.path.join(trimaps, stem + ".png"))
    _write_lists(os.path.join(folder, "annotations"), stems_of)
