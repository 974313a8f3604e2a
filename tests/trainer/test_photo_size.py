"""From the model's size to a photo's own."""

import numpy as np
import pytest
import tensorflow as tf
from trainer_helpers import SPEC, bilinear, draw_mask, encode

from trainer.confusion import scores
from trainer.photo_size import labels_and_confidence, photo_tallies, predicted_labels, true_labels
from trainer.preprocessing import resized_labels

SIZES = [(32, 48), (64, 96), (75, 101), (188, 250), (20, 30), (33, 7), (1, 1)]


def photo_matrices(mask: bytes, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confusion matrices of a photo's tallies, at its own size and at the model's."""
    own, at_model_size = photo_tallies(mask, predicted, SPEC, (5, 1))[:, :, :3]
    return own, at_model_size


def probabilities(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([1, 1, 1], size=[SPEC.height, SPEC.width]).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_labels_are_the_largest_of_bilinearly_resized_probabilities(height, width):
    labels = predicted_labels(probabilities(), height, width)
    assert (labels.shape, labels.dtype) == ((height, width), np.uint8)
    resized = bilinear(probabilities(), height, width)
    first, second = np.sort(resized, axis=-1)[..., -1], np.sort(resized, axis=-1)[..., -2]
    # Within rounding of a tie either label is right; that is no more than a few pixels.
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], resized.argmax(axis=-1)[clear])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_confidence_is_the_largest_probability_to_the_bit_as_tensorflow_resizes(height, width):
    resized = tf.image.resize(probabilities(), [height, width]).numpy()
    np.testing.assert_array_equal(labels_and_confidence(probabilities(), height, width)[1], resized.max(axis=-1))


def test_probabilities_are_resized_and_not_labels():
    # Between a sure pet and a doubtful background the border lies nearer to the background's centre.
    doubtful = np.zeros([2, 2, 2], np.float32)
    doubtful[:, 0], doubtful[:, 1] = [1.0, 0.0], [0.4, 0.6]
    assert predicted_labels(doubtful, 2, 24)[0].tolist() == [0] * 16 + [1] * 8


def test_of_equal_probabilities_the_lower_label_is_taken():
    even = np.full([2, 2, 3], 1 / 3, np.float32)
    assert predicted_labels(even, 3, 3).tolist() == [[0] * 3] * 3


def test_a_mask_is_read_as_training_reads_it():
    png = encode(draw_mask(np.random.default_rng(5), 47, 61, [0, 1, 2, 3, 4, 9, 255]))
    own_size = SPEC.model_copy(update={"height": 47, "width": 61})
    np.testing.assert_array_equal(true_labels(png, SPEC), resized_labels(tf.constant([png]), own_size)[0])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_both_matrices_count_the_pixels_that_a_person_would_count(height, width):
    mask = draw_mask(np.random.default_rng(height), height, width, [1, 2, 3, 4, 255], block=7)
    own, at_model_size = photo_matrices(encode(mask), probabilities())
    guess = predicted_labels(probabilities(), height, width)
    for label, values in enumerate([(1, 4), (2,), (3,)]):
        row = np.bincount(guess[np.isin(mask, values)], minlength=3)
        np.testing.assert_array_equal(own[label], row)
    assert own.sum() == (mask != 255).sum()
    if (height, width) == (SPEC.height, SPEC.width):
        np.testing.assert_array_equal(own, at_model_size)
    elif 255 not in mask:
        assert at_model_size.sum() == SPEC.height * SPEC.width


def test_a_prediction_of_the_very_mask_is_perfect_at_the_models_size_and_nearly_so_at_the_photos():
    mask = draw_mask(np.random.default_rng(1), 96, 144, [1, 2, 3], block=24)
    sure = np.eye(3, dtype=np.float32)[SPEC.label_table()[mask[1::3, 1::3]]]
    own, at_model_size = photo_matrices(encode(mask), sure)
    assert scores(at_model_size, SPEC.class_names, 1)["mean_iou"] == 1.0
    assert 0.9 < scores(own, SPEC.class_names, 1)["mean_iou"] <= 1.0


def test_a_blessed_model_of_another_input_size_is_measured_at_its_own():
    mask = draw_mask(np.random.default_rng(1), 64, 64, [1, 2, 3], block=16)
    sure = np.eye(3, dtype=np.float32)[SPEC.label_table()[mask[::4, ::4]]]
    assert sure.shape[:2] != (SPEC.height, SPEC.width)
    _, at_model_size = photo_matrices(encode(mask), sure)
    assert np.trace(at_model_size) == at_model_size.sum() == 16 * 16


def test_an_ignored_region_costs_nothing_at_either_size():
    mask = np.full([64, 96], 2, np.uint8)
    wrong = np.zeros([32, 48, 3], np.float32)
    wrong[..., 1] = 1
    wrong[:, :24] = [1, 0, 0]
    halved, _ = photo_matrices(encode(mask), wrong)
    assert halved[1].tolist() == [64 * 48, 64 * 48, 0]
    mask[:, :48] = 255
    own, at_model_size = photo_matrices(encode(mask), wrong)
    assert own.tolist() == [[0, 0, 0], [0, 64 * 48, 0], [0, 0, 0]]
    assert at_model_size.tolist() == [[0, 0, 0], [0, 32 * 24, 0], [0, 0, 0]]
