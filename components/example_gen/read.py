"""Reads raw examples back, for pictures, for the canary and to compare models."""

import tensorflow as tf

from trainer.features import FILENAME, HEIGHT, IMAGE, MASK, WIDTH

_BATCH = 128


def read_examples(folder: str, count: int, files: str = "*") -> list[dict]:
    """The first raw examples of a split: `image` and `mask` bytes, `filename`, `height`, `width`.

    Args:
      folder: of TFRecords.
      count: how many at most.
      files: pattern of the names of those that are read.
    """
    return [_parse(record) for record in _records(folder, files).take(count)]


def find_examples(folder: str, filenames: list[str]) -> dict[str, dict]:
    """The raw examples of some photos; reading ends when all are found, and never holds more than a batch.

    Args:
      folder: of TFRecords.
      filenames: photos; of two examples with one name the first counts.

    Returns:
      File name -> what `read_examples` gives, for those that are there.
    """
    name_only = {FILENAME: tf.io.FixedLenFeature([], tf.string)}
    wanted, found = set(filenames), {}
    for records in _records(folder).batch(_BATCH):
        names = tf.io.parse_example(records, name_only)[FILENAME].numpy()
        for index, name in enumerate(name.decode(errors="replace") for name in names):
            if name in wanted and name not in found:
                found[name] = _parse(records[index])
        if len(found) == len(wanted):
            break
    return found


def _records(folder: str, files: str = "*") -> tf.data.TFRecordDataset:
    return tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(f"{folder}/{files}")))


def _parse(record: tf.Tensor) -> dict:
    kinds = {IMAGE: tf.string, MASK: tf.string, FILENAME: tf.string, HEIGHT: tf.int64, WIDTH: tf.int64}
    spec = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    return {name: value.numpy() for name, value in tf.io.parse_single_example(record, spec).items()}
