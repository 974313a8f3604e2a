"""Reads raw examples back, for pictures and for the canary."""

import tensorflow as tf

from trainer.features import FILENAME, HEIGHT, IMAGE, MASK, WIDTH


def read_examples(folder: str, count: int) -> list[dict]:
    """The first raw examples of a split: `image` and `mask` bytes, `filename`, `height`, `width`.

    Args:
      folder: of TFRecords.
      count: how many at most.
    """
    kinds = {IMAGE: tf.string, MASK: tf.string, FILENAME: tf.string, HEIGHT: tf.int64, WIDTH: tf.int64}
    spec = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    files = sorted(tf.io.gfile.glob(f"{folder}/*"))
    parsed = (tf.io.parse_single_example(record, spec) for record in tf.data.TFRecordDataset(files).take(count))
    return [{name: value.numpy() for name, value in example.items()} for example in parsed]
