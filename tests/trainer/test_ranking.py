"""The worst, median and best photos of an evaluation."""

import numpy as np
import pytest

from trainer.ranking import BINS, SHOWN, ranking

NAMES = ["pet", "background"]


def tally_of(hits: int, misses: int) -> np.ndarray:
    """A photo whose two classes have the same IoU: hits / (hits + 2 misses)."""
    return np.array([[hits, misses, 0, 0], [misses, hits, 0, 0]], np.float64)


def ranked(count: int) -> tuple[dict, list[str]]:
    """The ranking of photos named in the order of their scores, given in another order."""
    order = np.random.default_rng(count).permutation(count)
    photos = [f"{number:05d}.jpg" for number in order]
    tallies = np.array([tally_of(int(number), count) for number in order]).reshape(count, 2, 4)
    return ranking(photos, tallies, NAMES, 1), sorted(photos)


@pytest.mark.parametrize("count", [12, 13, 100, 5000])
def test_of_many_photos_the_ends_and_the_middle_are_named(count):
    found, photos = ranked(count)
    named = {kind: [one["photo"] for one in found[kind]] for kind in SHOWN}
    assert named["worst"] == photos[:6]
    assert named["best"] == photos[-3:][::-1]
    assert len(named["median"]) == 3
    if count > 20:
        middle = count // 2
        assert named["median"] == photos[middle - 1 : middle + 2]
    scores = {one["photo"]: one["mean_iou"] for kind in SHOWN for one in found[kind]}
    assert scores[photos[0]] == 0 and scores[photos[-1]] == pytest.approx((count - 1) / (3 * count - 1))
    assert (len(found["histogram"]), sum(found["histogram"])) == (BINS, count)


@pytest.mark.parametrize("count", range(13))
def test_of_few_photos_each_is_named_once(count):
    found, photos = ranked(count)
    named = [one["photo"] for kind in SHOWN for one in found[kind]]
    assert sorted(named) == photos


def test_a_photo_in_which_nothing_counts_is_left_out():
    tallies = np.stack([tally_of(3, 1), np.zeros([2, 4])])
    found = ranking(["good.jpg", "ignored.jpg"], tallies, NAMES, 1)
    assert [one["photo"] for kind in SHOWN for one in found[kind]] == ["good.jpg"]
    assert sum(found["histogram"]) == 1
