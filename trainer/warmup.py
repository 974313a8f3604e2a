"""Warm-up requests: TensorFlow Serving replays them before it lets a new version answer.

Without them the first clients wait while TensorFlow prepares the graph. The photo is drawn, so that a model that leaves
the house takes nobody's picture along.
"""

import os

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from trainer.features import FeatureSpec

WARMUP = "assets.extra/tf_serving_warmup_requests"
"""Where TensorFlow Serving looks for them, relative to the folder of the model."""

WARMED = ("serving_default", "masks")
"""The signatures that clients call with photos."""


def drawn_photo(spec: FeatureSpec) -> bytes:
    """A JPEG of slow colour gradients, twice the model's size; always the same bytes."""
    y, x = tf.meshgrid(tf.linspace(0.0, 1.0, 2 * spec.height), tf.linspace(0.0, 1.0, 2 * spec.width), indexing="ij")
    pixels = tf.stack([x, y, 1.0 - x], axis=-1)
    return tf.io.encode_jpeg(tf.cast(255.0 * pixels, tf.uint8)).numpy()


def write_warmup_requests(folder: str, spec: FeatureSpec) -> None:
    """Writes a TFRecord of PredictionLogs, one of one photo for each of `WARMED`.

    The format is that of https://www.tensorflow.org/tfx/serving/saved_model_warmup.

    Args:
      folder: of the SavedModel.
      spec: size.
    """
    path = os.path.join(folder, WARMUP)
    tf.io.gfile.makedirs(os.path.dirname(path))
    photos = tf.make_tensor_proto([drawn_photo(spec)], dtype=tf.string, shape=[1])
    with tf.io.TFRecordWriter(path) as writer:
        for signature in WARMED:
            request = predict_pb2.PredictRequest(inputs={"image_bytes": photos})
            request.model_spec.signature_name = signature
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString(deterministic=True))
