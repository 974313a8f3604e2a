"""Boundary F1 against distances between every pair of boundary pixels, and against pictures worked out by hand."""

import numpy as np
import pytest
from trainer_helpers import brute_boundary_f1, draw_mask

from trainer.boundary import boundary_f1, boundary_pixels, dilate
from trainer.features import IGNORE_LABEL

I = IGNORE_LABEL  # noqa: E741


def pixels(*rows: str) -> np.ndarray:
    """uint8[h, w] of digits; `x` is the ignore label."""
    return np.array([[I if c == "x" else int(c) for c in row] for row in rows], np.uint8)


@pytest.mark.parametrize(
    "labels, marked",
    [
        (["000", "000"], ["000", "000"]),
        (["001", "001"], ["011", "011"]),
        # A corner is no neighbour.
        (["100", "000", "000"], ["110", "100", "000"]),
        (["00000", "00100", "00000"], ["00100", "01110", "00100"]),
        # What borders only on the unknown has no known border.
        (["0x1", "0x1"], ["000", "000"]),
        (["0x1", "001"], ["000", "011"]),
        (["0"], ["0"]),
    ],
)
def test_a_boundary_pixel_touches_another_known_class(labels, marked):
    assert boundary_pixels(pixels(*labels)).tolist() == (pixels(*marked) == 1).tolist()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 9, 40])
@pytest.mark.parametrize("height, width", [(1, 1), (1, 30), (23, 2), (31, 27)])
def test_dilation_reaches_what_lies_within_the_radius_and_keeps_the_planes_apart(height, width, radius):
    rng = np.random.default_rng(radius)
    bits = np.where(rng.random([height, width]) < 0.02, rng.integers(0, 256, [height, width]), 0).astype(np.uint8)
    bits[0, 0] = 0b10000001
    y, x = np.indices(bits.shape)
    expected = np.zeros_like(bits)
    for row, column in np.argwhere(bits):
        expected[(y - row) ** 2 + (x - column) ** 2 <= radius**2] |= bits[row, column]
    before = bits.copy()
    np.testing.assert_array_equal(dilate(bits, radius), expected)
    np.testing.assert_array_equal(bits, before)


@pytest.mark.parametrize("classes", [2, 3, 8, 9, 20])
@pytest.mark.parametrize("tolerance", [0, 1, 3, 5])
def test_f1_agrees_with_all_distances(classes, tolerance):
    rng = np.random.default_rng(classes * 10 + tolerance)
    labels = draw_mask(rng, 37, 45, [*range(classes), I], block=6)
    predicted = np.roll(np.where(labels == I, 0, labels), (2, 3), axis=(0, 1)).astype(np.uint8)
    noise = rng.random(predicted.shape) < 0.02
    predicted[noise] = rng.integers(0, classes, noise.sum())
    found = boundary_f1(labels, predicted, classes, tolerance)
    np.testing.assert_allclose(found, brute_boundary_f1(labels, predicted, classes, tolerance), rtol=0, atol=1e-12)
    assert np.isfinite(found).any()


def test_the_last_of_as_many_classes_as_there_can_be_is_counted():
    labels = np.zeros([4, 6], np.uint8)
    labels[:, 3:] = 253
    found = boundary_f1(labels, labels, 254, 0)
    assert (found[0], found[253], np.isnan(found).sum()) == (1, 1, 252)


def test_a_border_that_is_off_by_some_pixels_is_right_from_that_tolerance_on():
    labels, predicted = np.zeros([20, 30], np.uint8), np.zeros([20, 30], np.uint8)
    labels[:, 10:], predicted[:, 13:] = 1, 1
    assert [boundary_f1(labels, predicted, 2, tolerance).tolist() for tolerance in (2, 3)] == [[0, 0], [1, 1]]


def test_precision_and_recall_worked_out_by_hand():
    # Class 1's border is one column of four pixels. The prediction finds it and invents one that is as long.
    labels = pixels(*["0000000001"] * 4)
    predicted = pixels(*["1000000001"] * 4)
    # Precision 1/2, recall 1; of class 0, two found columns, one of them true.
    assert boundary_f1(labels, predicted, 2, 1).tolist() == pytest.approx([2 / 3, 2 / 3])


def test_a_class_without_a_boundary_is_undefined_and_one_that_is_only_predicted_or_missed_is_zero():
    flat, split = np.zeros([8, 8], np.uint8), np.zeros([8, 8], np.uint8)
    split[:, 4:] = 1
    assert np.isnan(boundary_f1(flat, flat, 3, 2)).all()
    for labels, predicted in ((flat, split), (split, flat)):
        found = boundary_f1(labels, predicted, 3, 2)
        assert found[:2].tolist() == [0, 0] and np.isnan(found[2])


def test_what_is_predicted_on_ignored_pixels_changes_nothing():
    rng = np.random.default_rng(0)
    labels = draw_mask(rng, 40, 40, [0, 1, 2], block=10)
    predicted = np.roll(labels, 2, axis=1)
    labels[10:25, 5:30] = I
    scribbled = predicted.copy()
    scribbled[10:25, 5:30] = rng.integers(0, 3, [15, 25])
    assert (scribbled != predicted).any()
    np.testing.assert_array_equal(boundary_f1(labels, predicted, 3, 3), boundary_f1(labels, scribbled, 3, 3))
