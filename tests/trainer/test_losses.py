"""The loss: its formulas, its options, and what it ignores."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainer.features import IGNORE_LABEL
from trainer.losses import class_weights, segmentation_loss
from trainer.settings import TrainingSettings

OPTIONS = [
    {"dice_weight": dice, "class_weights": weights, "focal_gamma": gamma}
    for dice, weights, gamma in itertools.product([0.0, 0.5], [None, [1.0, 0.25, 4.0]], [0.0, 0.5, 2.0])
]


def by_formula(labels, logits, dice_weight, class_weights, focal_gamma) -> float:
    """The loss in float64, a sum over the counted pixels one by one."""
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    classes = logits.shape[-1]
    weights = np.ones(classes) if class_weights is None else np.array(class_weights)
    pixels = [
        (label, p) for label, p in zip(labels.ravel(), probabilities.reshape(-1, classes), strict=True) if label != 255
    ]
    entropy = sum(weights[label] * (1 - p[label]) ** focal_gamma * -np.log(p[label]) for label, p in pixels)
    dice = []
    for c in range(classes):
        overlap = sum(p[c] for label, p in pixels if label == c)
        both = sum(p[c] + (label == c) for label, p in pixels)
        dice.append((2 * overlap + 1) / (both + 1))
    return entropy / sum(weights[label] for label, _ in pixels) + dice_weight * (1 - np.mean(dice))


@pytest.fixture(scope="module")
def drawn():
    """Labels uint8[2, 8, 8], a quarter of them ignored, and logits float32[2, 8, 8, 3]."""
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, IGNORE_LABEL], np.uint8), [2, 8, 8])
    return labels, rng.normal(0, 2, [2, 8, 8, 3]).astype(np.float32)


def loss_and_gradient(labels, logits, **options) -> tuple[float, np.ndarray]:
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = segmentation_loss(tf.constant(labels), variable, **options)
    return float(loss), tape.gradient(loss, variable).numpy()


def test_the_loss_worked_out_by_hand():
    labels = np.array([[[0, 1, IGNORE_LABEL]]], np.uint8)
    probabilities = np.array([[[[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]]])
    entropy = -(np.log(0.5) + np.log(0.8)) / 2
    # Soft Dice of class 0: truth 1, predicted 0.5 + 0.2, overlap 0.5; of class 1: truth 1, predicted 1.3, overlap 0.8.
    dice = 1 - ((2 * 0.5 + 1) / (1.7 + 1) + (2 * 0.8 + 1) / (2.3 + 1)) / 2
    for weight in (0.0, 0.5, 2.0):
        loss = segmentation_loss(tf.constant(labels), tf.constant(np.log(probabilities), tf.float32), weight)
        assert float(loss) == pytest.approx(entropy + weight * dice, abs=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_is_its_formula(drawn, options):
    loss, _ = loss_and_gradient(*drawn, **options)
    assert loss == pytest.approx(by_formula(*drawn, **options), rel=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_ignored_pixels_move_neither_loss_nor_gradient(drawn, options):
    labels, logits = drawn
    ignored = labels == IGNORE_LABEL
    noise = np.random.default_rng(1).normal(0, 30, logits.shape)
    other = np.where(ignored[..., np.newaxis], noise, logits).astype(np.float32)
    loss, gradient = loss_and_gradient(labels, logits, **options)
    other_loss, other_gradient = loss_and_gradient(labels, other, **options)
    assert loss == other_loss
    assert not gradient[ignored].any() and not other_gradient[ignored].any()
    np.testing.assert_array_equal(gradient[~ignored], other_gradient[~ignored])
    assert gradient[~ignored].any(axis=-1).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("scale", [1e-30, 1e2, 1e4, 1e30])
def test_loss_and_gradient_stay_finite_however_sure_the_net_is(drawn, options, scale):
    labels, logits = drawn
    for sure in (logits * scale, 0 * logits, tf.one_hot(labels, 3).numpy() * scale):
        loss, gradient = loss_and_gradient(labels, sure, **options)
        assert np.isfinite(loss) and loss >= 0
        assert np.isfinite(gradient).all()


def test_a_heavier_class_is_fitted_first(drawn):
    labels, logits = drawn
    _, plain = loss_and_gradient(labels, logits, dice_weight=0.0)
    _, weighted = loss_and_gradient(labels, logits, dice_weight=0.0, class_weights=[1.0, 1.0, 3.0])
    shares = [np.abs(gradient[labels == 2]).sum() / np.abs(gradient).sum() for gradient in (plain, weighted)]
    assert shares[1] > shares[0] + 0.1


def test_weights_that_are_all_alike_change_nothing(drawn):
    plain, _ = loss_and_gradient(*drawn, dice_weight=0.5)
    alike, _ = loss_and_gradient(*drawn, dice_weight=0.5, class_weights=[7.0, 7.0, 7.0])
    assert alike == pytest.approx(plain, rel=1e-6)


def test_focal_loss_turns_from_the_easy_pixel_to_the_hard_one():
    labels = np.array([[[0, 0]]], np.uint8)
    logits = np.array([[[[4.0, 0.0], [0.0, 1.0]]]], np.float32)
    shares = []
    for gamma in (0.0, 2.0):
        _, gradient = loss_and_gradient(labels, logits, dice_weight=0.0, focal_gamma=gamma)
        easy, hard = np.abs(gradient[0, 0]).sum(axis=-1)
        shares.append(easy / hard)
    assert shares[1] < shares[0] / 50


def test_ignoring_pixels_is_as_if_they_were_cut_off():
    rng = np.random.default_rng(1)
    labels, logits = rng.integers(0, 3, [2, 8, 8]).astype(np.uint8), rng.normal(size=[2, 8, 8, 3]).astype(np.float32)
    cut = segmentation_loss(tf.constant(labels[:, :5]), tf.constant(logits[:, :5]), 0.5)
    labels[:, 5:] = IGNORE_LABEL
    assert float(segmentation_loss(tf.constant(labels), tf.constant(logits), 0.5)) == pytest.approx(
        float(cut), abs=1e-6
    )


def test_a_batch_that_is_ignored_altogether_costs_nothing():
    labels = tf.fill([1, 4, 4], tf.constant(IGNORE_LABEL, tf.uint8))
    assert float(segmentation_loss(labels, tf.random.normal([1, 4, 4, 3]), 0.5)) == 0.0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, None),
        ({"contour": 2.5}, {"pet": 1.0, "background": 1.0, "contour": 2.5}),
        # Of 120 pixels in 4 classes each would have 30; a class that never occurs cannot be balanced.
        ("balanced", {"pet": 1.0, "background": 0.5, "contour": 1.0, "tail": 1.0}),
    ],
)
def test_weights_are_given_by_name_or_follow_from_the_pixels(setting, expected):
    names = list(expected or ["pet", "background"])
    found = class_weights(TrainingSettings(steps=1, class_weights=setting), names, lambda: np.array([30, 60, 30, 0]))
    assert found == expected


def test_only_balanced_weights_count_pixels():
    def must_not_count():
        raise AssertionError

    class_weights(TrainingSettings(steps=1, class_weights={"pet": 2}), ["pet", "background"], must_not_count)
