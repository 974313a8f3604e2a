"""What the training loop reads: the records that Transform wrote, each in its turn."""

import itertools
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import SPEC

import trainer.batches as batches_module
from trainer.batches import count_examples, evaluation_batches, training_batches
from trainer.preprocessing import normalise, resized_labels, resized_photos
from trainer.settings import AugmentSettings, TrainingSettings

PHOTOS = 7
PLAIN = AugmentSettings(enabled=False)


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(**({"steps": 1, "batch_size": 3, "augment": PLAIN} | changes))


def first(count: int, pattern: str, **changes) -> list[tuple[np.ndarray, np.ndarray]]:
    batches = training_batches([pattern], PHOTOS, SPEC, settings(**changes))
    return [(pixels.numpy(), labels.numpy()) for pixels, labels in itertools.islice(batches, count)]


def whole(transformed) -> tuple[np.ndarray, np.ndarray]:
    return next(evaluation_batches([transformed.pattern], SPEC, PHOTOS).as_numpy_iterator())


def order(batches, transformed) -> list[int]:
    """Which photo, by its place in the records, stands at each place of the batches."""
    places = {photo.tobytes(): place for place, photo in enumerate(whole(transformed)[0])}
    return [places[photo.tobytes()] for pixels, _ in batches for photo in pixels]


def test_evaluation_reads_every_photo_once_and_in_order(transformed):
    batches = list(evaluation_batches([transformed.pattern], SPEC, 3))
    assert [len(pixels) for pixels, _ in batches] == [3, 3, 1]
    pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert (pixels.dtype, labels.dtype) == (np.float32, np.uint8)
    photos = normalise(resized_photos(tf.constant(transformed.photos), SPEC), SPEC)
    # They were stored as float16.
    np.testing.assert_allclose(pixels, photos, atol=2e-3)
    np.testing.assert_array_equal(labels, resized_labels(tf.constant(transformed.masks), SPEC))


def test_batches_have_the_shapes_that_the_net_was_built_for(transformed):
    for pixels, labels in (
        evaluation_batches([transformed.pattern], SPEC, 3).element_spec,
        training_batches([transformed.pattern], PHOTOS, SPEC, settings()).element_spec,
    ):
        assert (pixels.shape[1:], pixels.dtype) == ([SPEC.height, SPEC.width, 3], tf.float32)
        assert (labels.shape[1:], labels.dtype) == ([SPEC.height, SPEC.width], tf.uint8)


def test_all_patterns_and_files_are_counted_and_read(transformed, tmp_path):
    (source,) = tf.io.gfile.glob(transformed.pattern)
    for name in ("a/one.tfrecord", "a/two.tfrecord", "b/three.tfrecord"):
        os.makedirs((tmp_path / name).parent, exist_ok=True)
        shutil.copy(source, tmp_path / name)
    patterns = [str(tmp_path / "b" / "*"), str(tmp_path / "a" / "*.tfrecord")]
    assert count_examples([transformed.pattern]) == PHOTOS
    assert count_examples(patterns) == 3 * PHOTOS
    assert sum(len(pixels) for pixels, _ in evaluation_batches(patterns, SPEC, 4)) == 3 * PHOTOS


def test_no_files_is_an_error_that_names_the_pattern(tmp_path):
    pattern = str(tmp_path / "*.tfrecord")
    for read in (
        lambda: count_examples([pattern]),
        lambda: evaluation_batches([pattern], SPEC, 2),
        lambda: training_batches([pattern], 5, SPEC, settings()),
    ):
        with pytest.raises(FileNotFoundError, match=r"no transformed examples match .*\*\.tfrecord"):
            read()


def test_training_shows_every_photo_once_an_epoch_and_shuffles_anew(transformed):
    # 7 photos in batches of 3: seven batches are three epochs, whose borders lie inside a batch.
    seen = order(first(7, transformed.pattern), transformed)
    epochs = [seen[start : start + PHOTOS] for start in (0, 7, 14)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(PHOTOS))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_labels_stay_with_their_photo_through_the_shuffle(transformed):
    pixels, labels = whole(transformed)
    batches = first(3, transformed.pattern)
    found = np.concatenate([batch_labels for _, batch_labels in batches])
    np.testing.assert_array_equal(found, labels[order(batches, transformed)])


def test_augmentation_off_leaves_every_photo_as_transform_wrote_it(transformed):
    # `order` finds a photo by its exact bytes.
    assert len(order(first(2, transformed.pattern, augment=PLAIN), transformed)) == 6
    with pytest.raises(KeyError):
        order(first(2, transformed.pattern, augment=AugmentSettings()), transformed)


@pytest.mark.parametrize("augment", [PLAIN, AugmentSettings()], ids=["plain", "augmented"])
def test_one_seed_gives_the_same_steps_and_another_gives_others(transformed, augment):
    def steps(seed):
        return b"".join(p.tobytes() + q.tobytes() for p, q in first(6, transformed.pattern, seed=seed, augment=augment))

    assert steps(17) == steps(17)
    assert steps(17) != steps(18)


@pytest.mark.parametrize("fits", [True, False], ids=["cached", "larger than memory"])
@pytest.mark.parametrize("start", [1, 2, 3, 7, 11])
def test_a_start_in_the_middle_gives_the_steps_that_were_left(transformed, monkeypatch, start, fits):
    # 7 photos in batches of 3: of these steps one begins an epoch, the others lie at different places inside of one.
    if not fits:
        monkeypatch.setattr(batches_module, "_KEPT_BYTES", 4 * SPEC.height * SPEC.width * 7)
    changes = {"augment": AugmentSettings()}
    whole_way = first(start + 4, transformed.pattern, **changes)[start:]
    rest = training_batches([transformed.pattern], PHOTOS, SPEC, settings(**changes), start).take(4)
    for (pixels, labels), (pixels_then, labels_then) in zip(whole_way, rest.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(pixels, pixels_then)
        np.testing.assert_array_equal(labels, labels_then)


def test_neighbouring_seeds_share_no_order(transformed):
    # A batch of all photos is an epoch.
    orders = {
        seed: [tuple(order([b], transformed)) for b in first(4, transformed.pattern, seed=seed, batch_size=PHOTOS)]
        for seed in (17, 18, 19)
    }
    assert len({one for epochs in orders.values() for one in epochs}) == 12


def test_a_photo_is_augmented_differently_each_time_it_comes(transformed):
    # A batch of all photos: each appears once in every step.
    batches = first(3, transformed.pattern, batch_size=PHOTOS, augment=AugmentSettings(min_scale=0.6))
    photos = [photo.tobytes() for pixels, _ in batches for photo in pixels]
    assert len(set(photos)) == 3 * PHOTOS


def test_augmented_labels_hold_no_new_value(transformed):
    known = set(np.unique(whole(transformed)[1]))
    for pixels, labels in first(4, transformed.pattern, augment=AugmentSettings()):
        assert np.isfinite(pixels).all()
        assert set(np.unique(labels)) <= known


def test_no_tuner_holds_up_the_end_of_a_dataset(transformed):
    training = training_batches([transformed.pattern], PHOTOS, SPEC, settings())
    evaluation = evaluation_batches([transformed.pattern], SPEC, 2)
    assert [dataset.options().autotune.enabled for dataset in (training, evaluation)] == [False, False]
