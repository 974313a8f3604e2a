"""Draws the small photos and masks that tests need, with NumPy and Pillow, and a model that can be told right or wrong.

photo, mask = pet(40, 56)                              # uint8[40, 56, 3] and uint8[40, 56] of 1, 2, 3
save(folder / "a.jpg", photo)
write_pets(tmp_path, train=["Bengal_1"], test=["pug_1"])      # the layout of Oxford-IIIT Pets
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PET, BACKGROUND, CONTOUR = 1, 2, 3

ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

STORED = {
    1: lambda picture: picture,
    2: np.fliplr,
    3: lambda picture: np.rot90(picture, 2),
    4: np.flipud,
    5: lambda picture: np.swapaxes(picture, 0, 1),
    6: lambda picture: np.rot90(picture, 1),
    7: lambda picture: np.rot90(np.swapaxes(picture, 0, 1), 2),
    8: lambda picture: np.rot90(picture, -1),
}
"""EXIF orientation -> how a camera that is held so stores an upright picture; NumPy, lest Pillow tests itself."""

SAMPLE = Path(os.environ.get("SEGPIPE_SAMPLE") or Path(__file__).parents[2] / "shared/data/oxford-pets-sample")
"""480 real photos; tests that need them carry `needs_sample` and never change or copy them."""

needs_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f"the real sample is not at {SAMPLE}; set SEGPIPE_SAMPLE to its folder"
)


def pet(height: int = 40, width: int = 56, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright blob with a contour on dark ground, off the centre so that a turn shows: (photo, trimap).

    Each seed but the first has its own place and size, so that no two photos are near-duplicates: the perceptual hashes
    of the first 24 seeds differ in 12 bits at least.
    """
    rng, place = np.random.default_rng(seed), np.random.default_rng([21, seed])
    y, x = np.indices((height, width))
    top, left = place.uniform(0.3, 0.7, 2) if seed else (0.35, 0.4)
    tall, wide = place.uniform(0.15, 0.3, 2) if seed else (0.25, 0.25)
    distance = np.hypot((y - top * height) / (tall * height), (x - left * width) / (wide * width))
    trimap = np.select([distance < 0.8, distance < 1.1], [PET, CONTOUR], BACKGROUND).astype(np.uint8)
    photo = np.where(distance < 0.95, 200, 60)[..., np.newaxis] + rng.integers(-25, 26, (height, width, 3))
    return photo.astype(np.uint8), trimap


def halves(left: int, right: int, height: int = 40, width: int = 56) -> np.ndarray:
    """uint8[height, width]: one value left of the middle, another right of it."""
    picture = np.full((height, width), left, np.uint8)
    picture[:, width // 2 :] = right
    return picture


def encoded(picture: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """An array or a Pillow image as a file's bytes; `kind` is Pillow's name of the format."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """A file's bytes as an array of its own mode."""
    return np.asarray(Image.open(io.BytesIO(data)))


def save(path: str | Path, picture: np.ndarray | Image.Image | bytes, **options) -> Path:
    """Writes a picture in the format of the path's suffix, or bytes as they are."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(path, **options)
    return path


def turned(orientation: int) -> dict:
    """Pillow's options to save a picture with an EXIF orientation, 1 to 8; 6 is upright after a turn to the right."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return {"exif": exif}


def write_pair(folder: Path, stem: str, seed: int = 0, height: int = 40, width: int = 56) -> None:
    """One clean photo in `images/` and its mask in `annotations/trimaps/`."""
    photo, trimap = pet(height, width, seed)
    save(folder / "images" / f"{stem}.jpg", photo, quality=90)
    save(folder / "annotations" / "trimaps" / f"{stem}.png", trimap)


def write_lists(folder: Path, train: list[str], test: list[str]) -> None:
    """The split lists of Oxford-IIIT Pets: a stem and three numbers a line."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for name, stems in (("trainval.txt", train), ("test.txt", test)):
        (folder / "annotations" / name).write_text("".join(f"{stem} 1 1 1\n" for stem in stems))


def write_pets(folder: Path, train: list[str], test: list[str]) -> Path:
    """A clean dataset in the layout of Oxford-IIIT Pets; each photo differs from all others."""
    for seed, stem in enumerate([*train, *test]):
        write_pair(folder, stem, seed)
    write_lists(folder, train, test)
    return folder


def write_brightness_model(folder: Path, spec, inverted: bool = False) -> Path:
    """A real SavedModel in the contract's form whose label is how bright a pixel is: 0 dark ... C-1 bright.

    It needs no training and its predictions are known, so that a test can compute by hand what must come out.
    `inverted` labels bright pixels 0, which makes it a bad model of the same masks.
    """
    import tensorflow as tf

    from trainer.features import DESCRIPTION, IMAGE
    from trainer.preprocessing import resized_photos

    class Brightness(tf.Module):
        def _predict(self, photos):
            # The half keeps every sum of three channels off the borders between classes.
            grey = (tf.reduce_sum(resized_photos(photos, spec), axis=-1) + 0.5) / 768.0
            labels = tf.cast(grey * spec.num_classes, tf.int32)
            labels = spec.num_classes - 1 - labels if inverted else labels
            return {"mask": tf.cast(labels, tf.uint8), "probabilities": tf.one_hot(labels, spec.num_classes)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def serving_default(self, image_bytes):
            return self._predict(image_bytes)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def from_examples(self, examples):
            return self._predict(tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})[IMAGE])

    model = Brightness()
    signatures = {"serving_default": model.serving_default, "from_examples": model.from_examples}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    description = folder / DESCRIPTION
    description.parent.mkdir(parents=True, exist_ok=True)
    description.write_text(json.dumps({"feature_spec": spec.model_dump(mode="json"), "run_id": "drawn"}))
    return folder
