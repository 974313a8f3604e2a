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


def _part(examples: tf.data.Dataset, every: int | None, held_out: bool) -> tf.data.Dataset:
    """Every n-th example, or all the others; by position in the files, so the parts are always the same two."""
    if every is None:
        return examples
    return examples.enumerate().filter(lambda i, _: (i % every == 0) == held_out).map(lambda _, example: example)


def count_held_out(count: int, every: int) -> int:
    """How many of `count` examples are held out if one in `every` is."""
    return -(-count // every)


def count_examples(patterns: list[str]) -> int:
    """Number of records in all files that match."""
    return int(_examples(patterns).reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))


def _unpack(serialised: tf.Tensor, spec: FeatureSpec) -> tuple[tf.Tensor, tf.Tensor]:
    parsed = tf.io.parse_example(serialised, {name: tf.io.FixedLenFeature([1], tf.string) for name in (PIXELS, LABELS)})
    return unpack_pixels(parsed[PIXELS], spec), unpack_labels(parsed[LABELS], spec)


def training_batches(
    patterns: list[str], count: int, spec: FeatureSpec, settings: TrainingSettings, leave_out: int | None = None
) -> tf.data.Dataset:
    """Endless batches (float32[N, H, W, 3], uint8[N, H, W]), shuffled and augmented.

    Step k is the same batch in every run with one seed: the order and each augmentation follow from seed and k alone.

    Args:
      patterns: globs of gzipped TFRecords.
      count: number of examples behind them.
      spec: shapes.
      settings: batch size, seed, augmentation.
      leave_out: leave one in so many out, for `evaluation_batches` to take; None takes all.
    """
    example_bytes = spec.height * spec.width * 7
    dataset = _part(_examples(patterns), leave_out, held_out=False)
    if count * example_bytes <= _CACHE_BYTES:
        dataset = dataset.cache()
    window = max(1, min(count, _SHUFFLE_BYTES // example_bytes))
    dataset = dataset.shuffle(window, seed=settings.seed, reshuffle_each_iteration=True).repeat()
    dataset = dataset.batch(settings.batch_size, drop_remainder=True).enumerate()

    def prepare(step: tf.Tensor, serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = _unpack(serialised, spec)
        if not settings.augment.enabled:
            return pixels, labels
        seed = tf.stack([tf.constant(settings.seed, tf.int32), tf.cast(step, tf.int32)])
        return augment(pixels, labels, seed, settings.augment)

    return dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def evaluation_batches(
    patterns: list[str], spec: FeatureSpec, batch_size: int, only: int | None = None
) -> tf.data.Dataset:
    """Every example once, in order, as batches (float32[N, H, W, 3], uint8[N, H, W]); the last may be smaller.

    Args:
      patterns: globs of gzipped TFRecords.
      spec: shapes.
      batch_size: N.
      only: only the one in so many that `training_batches` leaves out; None takes all.
    """
    examples = _part(_examples(patterns), only, held_out=True)
    return examples.batch(batch_size).map(lambda s: _unpack(s, spec)).prefetch(2)
