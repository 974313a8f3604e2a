"""Augmentation: a photo and its labels move together, labels are never mixed, and a seed decides everything."""

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import draw_mask

from trainer.augment import augment
from trainer.features import IGNORE_LABEL
from trainer.settings import AugmentSettings

STILL = {"flip": False, "min_scale": 1.0, "max_scale": 1.0, "aspect": 0.0, "rotation": 0.0, "colour": 0.0}
SEED = [17, 3]


def batch(count: int = 16, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0, 1, 2 and ignore, painted into the pixels: label k fills channel k, the ignore label none."""
    rng = np.random.default_rng(0)
    labels = np.stack([draw_mask(rng, height, width, [0, 1, 2, IGNORE_LABEL], block=11) for _ in range(count)])
    return (labels[..., np.newaxis] == np.arange(3)).astype(np.float32), labels


def augmented(pixels, labels, seed=SEED, **changes) -> tuple[np.ndarray, np.ndarray]:
    settings = AugmentSettings(**(STILL | changes))
    moved, moved_labels = augment(tf.constant(pixels), tf.constant(labels), tf.constant(seed, tf.int32), settings)
    return moved.numpy(), moved_labels.numpy()


GEOMETRY = {
    "flip": {"flip": True},
    "crop": {"min_scale": 0.6},
    "shrink": {"max_scale": 1.5},
    "aspect": {"aspect": 0.4},
    "rotation": {"rotation": 25.0},
    "any turn": {"rotation": 180.0},
    "all": {"flip": True, "min_scale": 0.6, "max_scale": 1.1, "aspect": 0.2, "rotation": 12.0},
}


@pytest.mark.parametrize("changes", GEOMETRY.values(), ids=GEOMETRY)
@pytest.mark.parametrize("size", [(48, 64), (64, 32)])
def test_photo_and_labels_move_together(changes, size):
    pixels, labels = batch(8, *size)
    moved, moved_labels = augmented(pixels, labels, **changes)
    assert (moved.shape, moved_labels.shape) == (pixels.shape, labels.shape)
    assert (moved.dtype, moved_labels.dtype) == (np.float32, np.uint8)
    shares = np.concatenate([moved, 1 - moved.sum(axis=-1, keepdims=True)], axis=-1)
    # The nearest of the four pixels that bilinear interpolation mixes weighs at least a quarter. So wherever one label
    # weighs more than three quarters, it is the nearest pixel's too.
    clear = shares.max(axis=-1) > 0.76
    assert clear.mean() > 0.6
    np.testing.assert_array_equal(np.array([0, 1, 2, IGNORE_LABEL])[shares.argmax(axis=-1)][clear], moved_labels[clear])
    assert (moved_labels != labels).any(), "nothing was moved"


@pytest.mark.parametrize("changes", GEOMETRY.values(), ids=GEOMETRY)
def test_no_label_is_invented(changes):
    pixels, labels = batch()
    sparse = np.where(labels == 1, 200, labels)
    _, moved_labels = augmented(pixels, sparse, **changes)
    assert set(np.unique(moved_labels)) <= {0, 2, 200, IGNORE_LABEL}


def test_settings_of_no_change_change_nothing():
    pixels, labels = batch()
    moved, moved_labels = augmented(pixels, labels)
    np.testing.assert_allclose(moved, pixels, atol=1e-5)
    np.testing.assert_array_equal(moved_labels, labels)


def test_a_flip_mirrors_about_half_of_the_photos():
    pixels, labels = batch(64)
    moved, moved_labels = augmented(pixels, labels, flip=True)
    mirrored = (moved_labels == labels[:, :, ::-1]).all(axis=(1, 2))
    same = (moved_labels == labels).all(axis=(1, 2))
    assert (mirrored ^ same).all()
    assert 16 <= mirrored.sum() <= 48
    np.testing.assert_allclose(moved[mirrored], pixels[mirrored][:, :, ::-1], atol=1e-5)


def test_a_crop_lies_inside_the_photo_and_shows_what_the_settings_allow():
    # A ramp from left to right and one from top to bottom: what the output shows is where its window lay.
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    ramps = np.tile(np.stack([x, y, 0 * x], axis=-1).astype(np.float32), (64, 1, 1, 1))
    moved, _ = augmented(ramps, np.zeros([64, 48, 64], np.uint8), min_scale=0.5)
    across, down = moved[:, 20, :, 0], moved[:, :, 20, 1]
    # Beyond the border the picture is reflected, and a ramp would turn round.
    assert (np.diff(across) > 0).all() and (np.diff(down) > 0).all()
    sides = across[:, -1] - across[:, 0]
    np.testing.assert_allclose(down[:, -1] - down[:, 0], sides, atol=5e-3)
    assert sides.min() >= 0.5 - 1e-4 and sides.max() <= 1 + 1e-4
    assert sides.min() < 0.6 and sides.max() > 0.9
    # Windows lie left and right of the middle.
    middles = (across[:, -1] + across[:, 0]) / 2
    assert middles.min() < 0.4 and middles.max() > 0.6


@pytest.mark.parametrize("seed", [[17, 3], [17, 4], [0, 0]])
def test_one_seed_gives_one_batch_eagerly_and_inside_tf_data(seed):
    pixels, labels = batch(4)
    settings = AugmentSettings()
    first = augment(tf.constant(pixels), tf.constant(labels), tf.constant(seed), settings)
    again = augment(tf.constant(pixels), tf.constant(labels), tf.constant(seed), settings)
    dataset = tf.data.Dataset.from_tensors((pixels, labels)).map(
        lambda p, q: augment(p, q, tf.constant(seed), settings)
    )
    in_dataset = next(iter(dataset))
    for one, other, mapped in zip(first, again, in_dataset, strict=True):
        np.testing.assert_array_equal(one, other)
        # A graph may fuse two multiplications that eager mode rounds one by one.
        np.testing.assert_allclose(one, mapped, atol=1e-4)


@pytest.mark.parametrize("other", [[17, 4], [18, 3]])
def test_another_step_or_seed_gives_another_batch(other):
    pixels, labels = batch(4)
    changes = GEOMETRY["all"] | {"colour": 0.3}
    moved, moved_labels = augmented(pixels, labels, **changes)
    others, other_labels = augmented(pixels, labels, seed=other, **changes)
    assert (np.abs(moved - others).reshape(4, -1).max(axis=1) > 0.01).all()
    assert (moved_labels != other_labels).reshape(4, -1).any(axis=1).all()


def test_photos_of_a_batch_are_changed_differently():
    pixels, labels = batch(1)
    moved, _ = augmented(pixels.repeat(4, 0), labels.repeat(4, 0), **GEOMETRY["all"])
    assert len({photo.tobytes() for photo in moved}) == 4


def test_colour_changes_photos_and_leaves_labels():
    pixels, labels = batch()
    plain, plain_labels = augmented(pixels, labels, **GEOMETRY["all"])
    coloured, coloured_labels = augmented(pixels, labels, colour=0.3, **GEOMETRY["all"])
    np.testing.assert_array_equal(coloured_labels, plain_labels)
    assert (np.abs(coloured - plain).reshape(16, -1).max(axis=1) > 0.01).all()
    # Brightness moves the mean of a photo by no more than the strength; contrast and saturation leave the mean alone.
    shifts = coloured.mean(axis=(1, 2, 3)) - plain.mean(axis=(1, 2, 3))
    assert np.abs(shifts).max() <= 0.3 + 1e-4 and np.abs(shifts).max() > 0.1
