"""Scores of sums of tallies, and intervals against a jackknife that really leaves each photo out."""

import math

import numpy as np
import pytest
from trainer_helpers import brute_half_widths, draw_mask, scores_of_photos

from trainer.features import IGNORE_LABEL
from trainer.tally import half_widths, scores_of, tally

NAMES, BACKGROUND, TOLERANCE = ["pet", "background", "contour"], 1, 2


def photos(count: int, seed: int = 0, classes: tuple[int, ...] = (0, 1, 2)) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth and a prediction that is mostly right."""
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(count):
        height, width = rng.integers(15, 30, 2)
        truth = draw_mask(rng, height, width, [*classes, IGNORE_LABEL])
        wrong = draw_mask(rng, height, width, list(classes), block=4)
        keep = draw_mask(rng, height, width, [0, 1, 1], block=3) == 1
        drawn.append((truth, np.where(keep & (truth != IGNORE_LABEL), truth, wrong).astype(np.uint8)))
    return drawn


def tallies(drawn) -> np.ndarray:
    return np.stack([tally(truth, guess, 3, TOLERANCE) for truth, guess in drawn])


def test_scores_of_a_set_are_those_of_its_photos():
    drawn = photos(6)
    found = scores_of(tallies(drawn).sum(axis=0), NAMES, BACKGROUND)
    assert found == pytest.approx(scores_of_photos(drawn, NAMES, BACKGROUND, TOLERANCE), abs=1e-12)
    assert 0.2 < found["mean_boundary_f1"] < 0.95


def test_a_photo_without_a_boundary_of_a_class_is_left_out_of_that_classs_mean():
    flat = np.ones([9, 9], np.uint8)
    drawn = [*photos(2), (flat, flat)]
    with_flat, without = (scores_of(tallies(some).sum(axis=0), NAMES, BACKGROUND) for some in (drawn, drawn[:2]))
    assert {k: with_flat[k] for k in with_flat if "boundary" in k} == {
        k: without[k] for k in without if "boundary" in k
    }


def test_a_class_without_any_boundary_is_undefined_and_not_in_the_mean():
    found = scores_of(tallies(photos(3, classes=(0, 1))).sum(axis=0), NAMES, BACKGROUND)
    assert math.isnan(found["boundary_f1/contour"])
    assert found["mean_boundary_f1"] == pytest.approx((found["boundary_f1/pet"] + found["boundary_f1/background"]) / 2)


@pytest.mark.parametrize("count", [2, 3, 10, 30])
def test_intervals_agree_with_leaving_each_photo_out(count):
    drawn = photos(count, seed=count)
    found = half_widths(tallies(drawn), NAMES, BACKGROUND)
    expected = brute_half_widths(drawn, NAMES, BACKGROUND, TOLERANCE)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert found.keys() == scores_of(tallies(drawn).sum(axis=0), NAMES, BACKGROUND).keys()
    assert found["mean_iou"] > 0


def test_many_photos_are_no_different():
    # More than one block of the computation; the brute force is that of the mean, whose jackknife is the usual error.
    rng = np.random.default_rng(1)
    right = rng.integers(0, 101, 5000)
    table = np.zeros([5000, 2, 4])
    table[:, 0, 0], table[:, 0, 1] = right, 100 - right
    found = half_widths(table, ["a", "b"], 1)["pixel_accuracy"]
    assert found == pytest.approx(1.9604386 * np.std(right / 100, ddof=1) / math.sqrt(5000), abs=1e-9)


def test_the_order_of_photos_does_not_matter():
    table = tallies(photos(40))
    mixed = table[np.random.default_rng(2).permutation(40)]
    assert half_widths(mixed, NAMES, 1) == pytest.approx(half_widths(table, NAMES, 1), abs=1e-12)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_photos_have_no_interval(count):
    table = tallies(photos(2))[:count]
    found = half_widths(table, NAMES, BACKGROUND)
    assert "mean_iou" in found and all(math.isnan(value) for value in found.values())


def test_a_score_that_hangs_on_one_photo_has_no_interval():
    drawn = [*photos(4, classes=(0, 1)), *photos(1)]
    found = half_widths(tallies(drawn), NAMES, BACKGROUND)
    assert math.isnan(found["iou/contour"]) and math.isnan(found["boundary_f1/contour"])
    assert found["iou/pet"] > 0 and found["mean_iou"] > 0


def test_equal_photos_leave_no_doubt():
    found = half_widths(tallies(photos(1) * 5), NAMES, BACKGROUND)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-12)


def test_intervals_cover_the_true_score_as_often_as_they_say():
    # Photos from one distribution whose mean IoU is known from very many of them.
    rng = np.random.default_rng(3)

    def draw(count: int) -> np.ndarray:
        table = np.zeros([count, 3, 5])
        share = rng.beta(6, 2, [count, 3])
        for label in range(3):
            table[:, label, label] = 1000 * share[:, label]
            table[:, label, (label + 1) % 3] = 1000 * (1 - share[:, label])
        return table

    truth = scores_of(draw(200_000).sum(axis=0), NAMES, BACKGROUND)["mean_iou"]
    covered = []
    for _ in range(400):
        table = draw(30)
        score = scores_of(table.sum(axis=0), NAMES, BACKGROUND)["mean_iou"]
        covered.append(abs(score - truth) <= half_widths(table, NAMES, BACKGROUND)["mean_iou"])
    assert 0.92 < np.mean(covered) < 0.98
