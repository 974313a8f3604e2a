"""From probabilities at the model's size to labels and confusion matrices at a photo's own size.

`predict`, `evaluate`, the report and TFMA's metrics all come through here, so that what is shown is what is measured.
"""

import numpy as np
import tensorflow as tf

from trainer.confusion import confusion_matrix
from trainer.features import FeatureSpec
from trainer.preprocessing import decoded_labels, shrink_labels


def predicted_labels(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The predicted label of every pixel of a photo.

    Args:
      probabilities: float32[H, W, C] at the model's size.
      height, width: the photo's own size.

    Returns:
      uint8[height, width], 0..C-1.
    """
    resized = tf.image.resize(probabilities, [height, width], method="bilinear")
    return tf.argmax(resized, axis=-1).numpy().astype(np.uint8)


def photo_matrices(mask: bytes, probabilities: np.ndarray, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """The confusion matrices of one photo.

    Args:
      mask: one-channel PNG in the user's own values.
      probabilities: float32[H, W, C].
      spec: class map and model size.

    Returns:
      int64[C, C] at the photo's own size, and at the model's.
    """
    labels = decoded_labels(tf.constant(mask), spec)
    own = predicted_labels(probabilities, *labels.shape)
    at_model_size = probabilities.argmax(axis=-1).astype(np.uint8)
    return (
        confusion_matrix(labels.numpy(), own, spec.num_classes),
        confusion_matrix(shrink_labels(labels, spec).numpy(), at_model_size, spec.num_classes),
    )
