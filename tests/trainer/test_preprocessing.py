"""The transform graph's functions: masks keep exactly their classes, photos are averaged and normalised."""

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import SPEC, draw_mask, encode

from trainer.features import IGNORE_LABEL, LABELS, PIXELS, ClassSpec, FeatureSpec
from trainer.preprocessing import (
    normalise,
    preprocessing_fn,
    resized_labels,
    resized_photos,
    shrink_labels,
    unpack_labels,
    unpack_pixels,
)


def spec_of(ignore: tuple[int, ...] = (), **classes: tuple[int, ...]) -> FeatureSpec:
    named = tuple(ClassSpec(name=name, values=values) for name, values in classes.items())
    return FeatureSpec(classes=named, ignore_values=ignore, background=named[0].name, height=32, width=48)


SPECS = {
    "the pets": spec_of(pet=(1,), background=(2,), contour=(3,)),
    "several values a class": spec_of(ground=(0, 7, 200), road=(3, 9), sky=(128,)),
    "ignored values": spec_of(ignore=(255, 0), ground=(10,), road=(20,)),
    "the ends of the byte are classes": spec_of(ignore=(1,), ground=(0,), road=(255,)),
    "all values declared": spec_of(ignore=tuple(range(200, 256)), low=tuple(range(100)), high=tuple(range(100, 200))),
    "a class for nearly every value": spec_of(**{f"c{value}": (value,) for value in range(254)}),
}


def expected_label(spec: FeatureSpec, value: int) -> int:
    """The promise in words: the position of the class that declares the value, else the ignore label."""
    return next((k for k, c in enumerate(spec.classes) if value in c.values), IGNORE_LABEL)


def exact_majority(labels: np.ndarray, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """The winners by area in whole numbers (no rounding), lower labels first and ignore last; and where a tie was."""

    def overlaps(size: int, out: int) -> np.ndarray:
        source, target = np.arange(size)[None], np.arange(out)[:, None]
        ends, starts = np.minimum((source + 1) * out, (target + 1) * size), np.maximum(source * out, target * size)
        return np.clip(ends - starts, 0, None)

    rows, columns = overlaps(labels.shape[0], spec.height), overlaps(labels.shape[1], spec.width)
    order = [*range(spec.num_classes), IGNORE_LABEL]
    areas = np.stack([rows @ (labels == label).astype(np.int64) @ columns.T for label in order], axis=-1)
    two_best = np.sort(areas, axis=-1)[..., -2:]
    return np.array(order, np.uint8)[areas.argmax(axis=-1)], two_best[..., 0] == two_best[..., 1]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_every_mask_value_becomes_exactly_its_label(spec, times):
    # 32x48 pixels hold each of the 256 values six times; larger masks hold each as a block that shrinks to one pixel.
    values = np.arange(32 * 48).reshape(32, 48) % 256
    mask = values.astype(np.uint8).repeat(times, 0).repeat(times, 1)
    labels = resized_labels(tf.constant([encode(mask)]), spec).numpy()[0]
    assert labels.dtype == np.uint8
    table = np.array([expected_label(spec, value) for value in range(256)])
    np.testing.assert_array_equal(labels, table[values])


@pytest.mark.parametrize("size", [(375, 500), (334, 251), (97, 131), (33, 47), (20, 30), (1, 1), (7, 400)])
@pytest.mark.parametrize("name", ["several values a class", "ignored values", "the ends of the byte are classes"])
def test_the_largest_area_wins_at_any_size_and_nothing_is_invented(name, size):
    spec, rng = SPECS[name], np.random.default_rng(sum(size))
    mask = draw_mask(rng, *size, values=sorted(spec.mask_values) + [77, 78], block=3)
    before = np.vectorize(lambda value: np.uint8(expected_label(spec, value)))(mask)
    after = shrink_labels(tf.constant(before), spec).numpy()
    np.testing.assert_array_equal(after, resized_labels(tf.constant([encode(mask)]), spec)[0])
    winners, tied = exact_majority(before, spec)
    # Areas are sums of floats, so a tie between parts of pixels may fall either way; ties of whole pixels stand below.
    np.testing.assert_array_equal(after[~tied], winners[~tied])
    assert set(np.unique(after)) <= set(np.unique(before))


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        # Four pixels of the mask become one label; SPEC: 1 and 4 are pet (0), 2 background (1), 3 contour (2).
        ([1, 1, 1, 1], 0),
        ([2, 2, 2, 1], 1),
        ([1, 3, 3, 3], 2),
        ([3, 2, 1, 3], 2),
        # The mean of the values 1 and 3 is 2 and of the labels 0 and 2 is 1: the class that bilinear resizing invents.
        ([3, 3, 1, 3], 2),
        # A tie goes to the lower label, wherever it lies.
        ([1, 1, 2, 2], 0),
        ([2, 2, 1, 1], 0),
        ([3, 2, 3, 2], 1),
        ([3, 2, 1, 1], 0),
        # Two values of one class count together.
        ([1, 4, 2, 3], 0),
        ([2, 2, 4, 1], 0),
        ([4, 2, 3, 3], 2),
        # Ignored and undeclared pixels weigh like any other, but lose a tie against a class.
        ([255, 255, 255, 3], IGNORE_LABEL),
        ([255, 255, 1, 2], IGNORE_LABEL),
        ([255, 255, 3, 3], 2),
        ([255, 77, 3, 2], IGNORE_LABEL),
        ([255, 1, 2, 3], 0),
        ([77, 77, 77, 78], IGNORE_LABEL),
    ],
)
def test_four_pixels_become_one_label(cell, label):
    mask = np.tile(np.array(cell, np.uint8).reshape(2, 2), (SPEC.height, SPEC.width))
    labels = resized_labels(tf.constant([encode(mask)]), SPEC).numpy()
    assert labels.shape == (1, SPEC.height, SPEC.width)
    assert np.unique(labels).tolist() == [label]


def test_a_batch_mixes_sizes():
    masks = [np.full(size, value, np.uint8) for size, value in [((40, 50), 2), ((200, 10), 3), ((32, 48), 255)]]
    labels = resized_labels(tf.constant([encode(mask) for mask in masks]), SPEC).numpy()
    assert [np.unique(one).tolist() for one in labels] == [[1], [2], [IGNORE_LABEL]]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_photo_is_averaged_over_the_area_of_each_pixel(times):
    photo = np.random.default_rng(0).integers(0, 256, (32 * times, 48 * times, 3), np.uint8)
    resized = resized_photos(tf.constant([encode(photo)]), SPEC).numpy()[0]
    means = photo.astype(np.float64).reshape(32, times, 48, times, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resized, means, atol=1e-3)


def test_channels_stay_red_green_blue_and_grey_becomes_all_three():
    red = np.full([40, 40, 3], [250, 10, 20], np.uint8)
    grey = np.full([40, 40], 90, np.uint8)
    resized = resized_photos(tf.constant([encode(red), encode(grey)]), SPEC).numpy()
    np.testing.assert_allclose(resized[:, 5, 5], [[250, 10, 20], [90, 90, 90]], atol=1e-3)


def test_the_constants_of_the_spec_normalise():
    spec = SPEC.model_copy(update={"pixel_mean": (0.2, 0.4, 1.0), "pixel_std": (0.1, 0.2, 0.5)})
    normal = normalise(tf.constant([[51.0, 102.0, 255.0], [255.0, 0.0, 0.0]]), spec)
    assert normal.dtype == tf.float32
    np.testing.assert_allclose(normal.numpy(), [[0, 0, 0], [8, -2, -2]], atol=1e-5)


def test_packed_bytes_unpack_to_the_same_numbers():
    rng = np.random.default_rng(5)
    photos = tf.constant([encode(rng.integers(0, 256, size, np.uint8)) for size in [(40, 50, 3), (32, 48, 3)]])
    masks = tf.constant([encode(draw_mask(rng, *size, [1, 2, 3, 255])) for size in [(40, 50), (32, 48)]])
    inputs = {"image": photos[:, tf.newaxis], "mask": masks[:, tf.newaxis], "filename": tf.constant([["a"], ["b"]])}
    packed = preprocessing_fn(inputs, {"feature_spec": SPEC.model_dump_json()})
    assert {name: value.shape.as_list() for name, value in packed.items()} == {PIXELS: [2, 1], LABELS: [2, 1]}
    # Seven bytes a pixel: more, and the materialised examples fill the disk.
    assert [len(value) for value in packed[PIXELS].numpy()[:, 0]] == [32 * 48 * 6] * 2
    assert [len(value) for value in packed[LABELS].numpy()[:, 0]] == [32 * 48] * 2
    pixels, labels = unpack_pixels(packed[PIXELS], SPEC), unpack_labels(packed[LABELS], SPEC)
    assert (pixels.dtype, labels.dtype) == (tf.float32, tf.uint8)
    halves = tf.cast(normalise(resized_photos(photos, SPEC), SPEC), tf.float16)
    np.testing.assert_array_equal(pixels, tf.cast(halves, tf.float32))
    np.testing.assert_array_equal(labels, resized_labels(masks, SPEC))
    # A parsed example comes as string[N] or string[N, 1]; both open.
    np.testing.assert_array_equal(unpack_pixels(packed[PIXELS][:, 0], SPEC), pixels)
    np.testing.assert_array_equal(unpack_labels(packed[LABELS][:, 0], SPEC), labels)


def test_half_precision_costs_less_than_the_photo_itself_resolves():
    photo = np.random.default_rng(6).integers(0, 256, (32, 48, 3), np.uint8)
    packed = preprocessing_fn(
        {"image": tf.constant([[encode(photo)]]), "mask": tf.constant([[encode(photo[..., 0])]])},
        {"feature_spec": SPEC.model_dump_json()},
    )
    pixels = unpack_pixels(packed[PIXELS], SPEC).numpy()[0]
    back = (pixels * SPEC.pixel_std + SPEC.pixel_mean) * 255
    np.testing.assert_array_equal(np.rint(back), photo)
