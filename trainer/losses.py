"""The loss: cross-entropy, with class weights or as focal loss if asked for, plus a soft Dice term.

Ignored pixels weigh nothing in any of them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from trainer.features import IGNORE_LABEL
from trainer.settings import BALANCED, TrainingSettings

# Below this share of doubt a power with an exponent under one has a slope without bound.
_LEAST_DOUBT = 1e-7


def segmentation_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    dice_weight: float,
    class_weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
    total: Callable[[list[tf.Tensor]], list[tf.Tensor]] = lambda sums: sums,
) -> tf.Tensor:
    """Cross-entropy over all counted pixels, plus soft Dice (Milletari et al. 2016) averaged over classes.

    Each pixel's cross-entropy is multiplied by (1 - p)^gamma, where p is the probability of its true class (focal loss,
    Lin et al. 2017), and by the weight of its true class; the sum is divided by that of the weights, so that weights
    move attention between classes and not the size of the loss. The Dice term counts classes alike by itself.

    Args:
      labels: uint8[N, H, W], 0..C-1 or `IGNORE_LABEL`, whose pixels weigh nothing.
      logits: float32[N, H, W, C].
      dice_weight: weight of the Dice term.
      class_weights: C numbers; None weighs all alike.
      focal_gamma: gamma; 0 is plain cross-entropy.
      total: adds sums up over the replicas of a distributed step, so that each sees the loss of the whole batch.

    Returns:
      float32 scalar.
    """
    classes = logits.shape[-1]
    flat = tf.reshape(labels, [-1])
    counted = tf.cast(flat != IGNORE_LABEL, tf.float32)
    # The ignore label lies above every class, so it is none of them: its columns are zero.
    truth = tf.one_hot(flat, classes, axis=0)
    # A row for each class: with the classes of each pixel side by side, as they come, this takes three times as long.
    scores = tf.transpose(tf.reshape(logits, [-1, classes]))
    log_probabilities = scores - tf.reduce_logsumexp(scores, axis=0)
    entropy = -tf.reduce_sum(truth * log_probabilities, axis=0)
    if focal_gamma > 0:
        entropy *= tf.maximum(-tf.math.expm1(-entropy), _LEAST_DOUBT) ** focal_gamma
    weights = counted
    if class_weights is not None:
        weights = tf.linalg.matvec(truth, tf.constant(class_weights, tf.float32), transpose_a=True)
    probabilities = tf.exp(log_probabilities)
    entropy, weight, overlap, both = total(
        [
            tf.reduce_sum(entropy * weights),
            tf.reduce_sum(weights),
            tf.reduce_sum(truth * probabilities, axis=1),
            tf.reduce_sum(truth, axis=1) + tf.linalg.matvec(probabilities, counted),
        ]
    )
    dice = 1.0 - tf.reduce_mean((2.0 * overlap + 1.0) / (both + 1.0))
    return tf.math.divide_no_nan(entropy, weight) + dice_weight * dice


def class_weights(
    settings: TrainingSettings, class_names: list[str], count_pixels: Callable[[], np.ndarray]
) -> dict[str, float] | None:
    """The weight of every class, or None if all weigh alike.

    Args:
      settings: `class_weights` names some classes, the rest weigh 1; `balanced` gives class c of C, with n_c of n
        pixels, n / (C n_c) (King and Zeng 2001), so that all classes weigh alike in sum, and 1 where n_c is 0.
      class_names: C names in label order.
      count_pixels: counts the pixels of each class, int64[C]; called for `balanced` alone.
    """
    if settings.class_weights is None:
        return None
    if settings.class_weights != BALANCED:
        return {name: settings.class_weights.get(name, 1.0) for name in class_names}
    pixels = count_pixels()
    balanced = np.where(pixels > 0, pixels.sum() / (len(pixels) * np.maximum(pixels, 1)), 1.0)
    return dict(zip(class_names, balanced.tolist(), strict=True))
