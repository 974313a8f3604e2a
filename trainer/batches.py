"""From Transform's TFRecords to batches: `training_batches` repeats and shuffles, `evaluation_batches` does neither."""

import tensorflow as tf

from trainer.augment import augment
from trainer.features import LABELS, PIXELS, FeatureSpec
from trainer.preprocessing import unpack_labels, unpack_pixels
from trainer.settings import TrainingSettings

_CACHE_BYTES = 1 << 30
_SHUFFLE_BYTES = 512 << 20


def _files(patterns: list[str]) -> list[str]:
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no transformed examples match {patterns}")
    return files


def _examples(patterns: list[str]) -> tf.data.Dataset:
    """Serialised transformed examples, in the order of the files' names."""
    return tf.data.TFRecordDataset(_files(patterns), compression_type="GZIP")


def count_examples(patterns: list[str]) -> int:
    """Number of records in all files that match."""
    return int(_examples(patterns).reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))


def _unpack(serialised: tf.Tensor, spec: FeatureSpec) -> tuple[tf.Tensor, tf.Tensor]:
    parsed = tf.io.parse_example(serialised, {name: tf.io.FixedLenFeature([1], tf.string) for name in (PIXELS, LABELS)})
    return unpack_pixels(parsed[PIXELS], spec), unpack_labels(parsed[LABELS], spec)


def training_batches(
    patterns: list[str], count: int, spec: FeatureSpec, settings: TrainingSettings, start: int = 0
) -> tf.data.Dataset:
    """Endless batches (float32[N, H, W, 3], uint8[N, H, W]), shuffled and augmented.

    Step k is the same batch in every run with one seed: the order and each augmentation follow from seed and k alone.

    Args:
      patterns: globs of gzipped TFRecords.
      count: number of examples behind them.
      spec: shapes.
      settings: batch size, seed, augmentation.
      start: the step to begin with; at most one epoch is read to find its place.
    """
    example_bytes = spec.height * spec.width * 7
    dataset = _examples(patterns)
    if count * example_bytes <= _CACHE_BYTES:
        dataset = dataset.cache()
    window = max(1, min(count, _SHUFFLE_BYTES // example_bytes))
    first_epoch, inside = divmod(start * settings.batch_size, count)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        # Hashed: with their sum, epoch 1 of one seed would have the order of epoch 0 of the next.
        seed = tf.random.stateless_uniform([], tf.stack([settings.seed, number]), maxval=2**31 - 1, dtype=tf.int64)
        return dataset.shuffle(window, seed=seed, reshuffle_each_iteration=False)

    order = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch).skip(inside)
    batches = order.batch(settings.batch_size, drop_remainder=True).enumerate(start)

    def prepare(step: tf.Tensor, serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = _unpack(serialised, spec)
        if not settings.augment.enabled:
            return pixels, labels
        seed = tf.stack([tf.constant(settings.seed, tf.int32), tf.cast(step, tf.int32)])
        return augment(pixels, labels, seed, settings.augment)

    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def evaluation_batches(patterns: list[str], spec: FeatureSpec, batch_size: int) -> tf.data.Dataset:
    """Every example once, in order, as batches (float32[N, H, W, 3], uint8[N, H, W]); the last may be smaller."""
    return _examples(patterns).batch(batch_size).map(lambda s: _unpack(s, spec)).prefetch(2)
