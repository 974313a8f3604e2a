"""Scores against numbers worked out by hand and against sets of pixels."""

import math

import numpy as np
import pytest
from trainer_helpers import pixel_scores

from trainer.confusion import confusion_matrix, scores
from trainer.features import IGNORE_LABEL

NAMES = ["pet", "background", "contour"]


def matrix_of(truth, guess, num_classes=3):
    return confusion_matrix(np.array(truth, np.uint8), np.array(guess, np.uint8), num_classes)


def test_rows_are_truth_and_columns_predictions():
    assert matrix_of([[0, 0, 1], [2, 2, 2]], [[0, 1, 1], [0, 2, 2]]).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]


def test_ignored_pixels_are_left_out_whatever_is_predicted_there():
    truth = [0, IGNORE_LABEL, 1, IGNORE_LABEL]
    expected = [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    for guess in ([0, 0, 2, 1], [0, 2, 2, 2], [0, IGNORE_LABEL, 2, 77]):
        assert matrix_of(truth, guess).tolist() == expected
    assert matrix_of([IGNORE_LABEL] * 4, [0, 1, 2, 0]).sum() == 0


def test_sums_over_photos_are_one_matrix_over_all_pixels():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 5, 20, 30))
    total = sum(matrix_of(t, g) for t, g in zip(truth, guess, strict=True))
    np.testing.assert_array_equal(total, matrix_of(truth, guess))
    assert total.sum() == 5 * 20 * 30


@pytest.mark.parametrize("classes", [1, 2, 4, 5, 16, 17, 200])
def test_pairs_are_counted_however_many_classes_there_are(classes):
    rng, expected = np.random.default_rng(classes), np.zeros([classes, classes], np.int64)
    truth, guess = rng.integers(0, classes, (2, 40, 50))
    truth[::7] = IGNORE_LABEL
    counted = truth != IGNORE_LABEL
    np.add.at(expected, (truth[counted], guess[counted]), 1)
    np.testing.assert_array_equal(matrix_of(truth, guess, classes), expected)


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        ([0, 1], [0, 1, 2], "one shape"),
        ([[0, 1]], [0, 1], "one shape"),
        ([0, 3], [0, 0], "not below the number of classes, 3"),
        ([0, 0], [0, 3], "not below the number of classes, 3"),
        # An ignored label is no prediction.
        ([0, 0], [0, IGNORE_LABEL], "not below the number of classes, 3"),
    ],
)
def test_what_cannot_be_counted_is_refused(truth, guess, message):
    with pytest.raises(ValueError, match=message):
        matrix_of(truth, guess)


def test_scores_worked_out_by_hand():
    # 10 pet (8 found), 20 background (15 found), 4 contour (1 found).
    found = scores(np.array([[8, 1, 1], [3, 15, 2], [1, 2, 1]]), NAMES, background=1)
    expected = {
        "iou/pet": 8 / 14,
        "iou/background": 15 / 23,
        "iou/contour": 1 / 7,
        "dice/pet": 16 / 22,
        "dice/background": 30 / 38,
        "dice/contour": 2 / 8,
        "mean_iou": (8 / 14 + 15 / 23 + 1 / 7) / 3,
        "pixel_accuracy": 24 / 34,
        # Foreground is pet or contour, taken for one another or not: 11 right, 3 missed, 5 too many.
        "binary_iou": 11 / 19,
    }
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("background", [0, 1, 2])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_scores_agree_with_sets_of_pixels(background, ignored):
    rng = np.random.default_rng(background)
    truth = rng.integers(0, 3, [4, 30, 40]).astype(np.uint8)
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 3, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < ignored] = IGNORE_LABEL
    found = scores(confusion_matrix(truth, guess, 3), NAMES, background)
    assert found == pytest.approx(pixel_scores(truth, guess, NAMES, background), abs=1e-12)


def test_a_class_absent_from_truth_and_prediction_is_undefined_and_not_in_the_mean():
    found = scores(matrix_of([0, 0, 1, 1], [0, 1, 1, 1]), NAMES, background=1)
    assert math.isnan(found["iou/contour"]) and math.isnan(found["dice/contour"])
    assert found["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_class_that_is_only_predicted_or_only_missed_counts_as_zero():
    for truth, guess in (([0, 1, 1], [0, 1, 2]), ([0, 1, 2], [0, 1, 1])):
        found = scores(matrix_of(truth, guess), NAMES, background=1)
        assert found["iou/contour"] == found["dice/contour"] == 0
        assert found["mean_iou"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_calling_everything_background_finds_nothing():
    truth = np.array([0] * 30 + [1] * 60 + [2] * 10, np.uint8)
    found = scores(confusion_matrix(truth, np.ones_like(truth), 3), NAMES, background=1)
    assert (found["iou/pet"], found["iou/contour"], found["binary_iou"]) == (0, 0, 0)
    assert found["iou/background"] == found["pixel_accuracy"] == pytest.approx(0.6)
    assert found["mean_iou"] == pytest.approx(0.2)


def test_a_perfect_prediction_scores_one_everywhere():
    truth = np.arange(300) % 3
    assert set(scores(matrix_of(truth, truth), NAMES, background=1).values()) == {1.0}


def test_nothing_counted_is_undefined_and_no_error():
    assert all(math.isnan(value) for value in scores(np.zeros([3, 3]), NAMES, background=1).values())


def test_binary_iou_is_undefined_where_all_is_rightly_background():
    assert math.isnan(scores(np.diag([0, 50, 0]), NAMES, background=1)["binary_iou"])
