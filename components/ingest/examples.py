"""Builds `tf.train.Example`s from plain values."""

import tensorflow as tf


def to_example(values: dict[str, bytes | int | float]) -> tf.train.Example:
    """One feature of one value per name, names in order."""
    example = tf.train.Example()
    for name, value in sorted(values.items()):
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return example
