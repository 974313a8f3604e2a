"""Augmentation: a photo and its labels move together, labels are never mixed, and a seed decides everything."""

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import draw_mask

from trainer.augment import augment, strength
from trainer.features import IGNORE_LABEL, FeatureSpec
from trainer.settings import AugmentSettings

STILL = {"flip": False, "min_scale": 1.0, "max_scale": 1.0, "aspect": 0.0, "rotation": 0.0} | dict.fromkeys(
    ("colour", "tint", "grey", "gamma", "cut_and_paste"), 0.0
)
SEED = [17, 3]
SPEC = FeatureSpec()


def batch(count: int = 16, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0, 1, 2 and ignore, painted into the pixels: label k fills channel k, the ignore label none."""
    rng = np.random.default_rng(0)
    labels = np.stack([draw_mask(rng, height, width, [0, 1, 2, IGNORE_LABEL], block=11) for _ in range(count)])
    return (labels[..., np.newaxis] == np.arange(3)).astype(np.float32), labels


def augmented(pixels, labels, seed=SEED, share=1.0, **changes) -> tuple[np.ndarray, np.ndarray]:
    settings, seed = AugmentSettings(**(STILL | changes)), tf.constant(seed, tf.int32)
    moved, moved_labels = augment(tf.constant(pixels), tf.constant(labels), seed, settings, SPEC, share)
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
    first = augment(tf.constant(pixels), tf.constant(labels), tf.constant(seed), settings, SPEC)
    again = augment(tf.constant(pixels), tf.constant(labels), tf.constant(seed), settings, SPEC)
    dataset = tf.data.Dataset.from_tensors((pixels, labels)).map(
        lambda p, q: augment(p, q, tf.constant(seed), settings, SPEC)
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


def test_tint_shifts_each_channel_by_itself():
    pixels, labels = batch(32)
    tinted, _ = augmented(pixels, labels, tint=0.5)
    shifts = tinted - pixels
    np.testing.assert_allclose(shifts, shifts[:, :1, :1].repeat(48, 1).repeat(64, 2), atol=1e-5)
    assert 0.4 < np.abs(shifts).max() <= 0.5 + 1e-5
    assert np.ptp(shifts[:, 0, 0], axis=-1).max() > 0.4


def test_grey_drains_about_its_share_of_the_photos():
    pixels, labels = batch(64)
    drained, _ = augmented(pixels, labels, grey=0.5)
    grey = np.ptp(drained, axis=-1).max(axis=(1, 2)) < 1e-6
    assert 16 <= grey.sum() <= 48
    np.testing.assert_array_equal(drained[~grey], pixels[~grey])


def test_gamma_bends_a_photo_and_leaves_black_and_white():
    ramp = np.linspace(0, 1, 64).reshape(1, 1, 64, 1) * np.ones([32, 48, 1, 3])
    normalised = ((ramp - SPEC.pixel_mean) / SPEC.pixel_std).astype(np.float32)
    bent, _ = augmented(normalised, np.zeros([32, 48, 64], np.uint8), gamma=0.4)
    shown = bent * SPEC.pixel_std + SPEC.pixel_mean
    powers = np.log(shown[:, 0, 32, 0]) / np.log(ramp[0, 0, 32, 0])
    np.testing.assert_allclose(shown[:, :, 1:], ramp[:, :, 1:] ** powers.reshape(-1, 1, 1, 1), atol=1e-4)
    assert np.exp(-0.4) - 1e-3 <= powers.min() < 0.8 and 1.25 < powers.max() <= np.exp(0.4) + 1e-3


def test_a_rectangle_of_another_photo_is_pasted_with_its_labels():
    count = 24
    pixels = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones([1, 48, 64, 3], np.float32)
    labels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1) * np.ones([1, 48, 64], np.uint8)
    mixed, mixed_labels = augmented(pixels, labels, cut_and_paste=0.5)
    np.testing.assert_array_equal(mixed[..., 0], mixed_labels)
    pasted = mixed_labels != labels
    np.testing.assert_array_equal(mixed_labels[pasted], np.roll(labels, 1, axis=0)[pasted])
    hit = pasted.any(axis=(1, 2))
    assert 6 <= hit.sum() <= 18
    for mask in pasted[hit]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "it is a rectangle"
        assert 0.25 * 48 <= len(rows) <= 0.75 * 48 and 0.25 * 64 <= len(columns) <= 0.75 * 64


def test_a_share_of_nothing_changes_nothing_but_the_side_of_a_photo():
    pixels, labels = batch()
    settings = AugmentSettings(flip=False)
    moved, moved_labels = augment(
        tf.constant(pixels), tf.constant(labels), tf.constant(SEED), settings, SPEC, tf.constant(0.0)
    )
    np.testing.assert_allclose(moved, pixels, atol=1e-3)
    np.testing.assert_array_equal(moved_labels, labels)


@pytest.mark.parametrize(
    "step, steps, share", [(0, 100, 1.0), (60, 100, 1.0), (80, 100, 0.5), (99, 100, 0.2), (99, None, 1.0)]
)
def test_changes_shrink_over_the_last_part_of_a_training(step, steps, share):
    settings = AugmentSettings(relax_share=0.4, relaxed=0.2)
    assert float(strength(tf.constant(step, tf.int64), steps, settings)) == pytest.approx(share)


def test_without_a_share_to_relax_in_nothing_shrinks():
    assert float(strength(tf.constant(99, tf.int64), 100, AugmentSettings(relax_share=0.0))) == 1.0
