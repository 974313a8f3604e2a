"""From Transform's TFRecords to batches: `training_batches` repeats and shuffles, `evaluation_batches` does neither.

`held_out_records` tells which training photos early stopping measures on; the rest train.
"""

import numpy as np
import tensorflow as tf

from trainer.augment import augment, strength
from trainer.features import IGNORE_LABEL, LABELS, PIXELS, FeatureSpec
from trainer.preprocessing import unpack_labels, unpack_pixels
from trainer.settings import TrainingSettings

# Of packed examples. All are kept where they fit; else the disk, which gives far more of them than a net takes, is read
# anew each epoch, and a window of so many is shuffled.
_KEPT_BYTES = 64 << 20
_HASH_BUCKETS = 10_000
# Without AutoGraph, which takes a second for each function that a dataset maps, and has nothing to do here.
_as_written = tf.autograph.experimental.do_not_convert


def _files(patterns: list[str]) -> list[str]:
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no transformed examples match {patterns}")
    return files


def _examples(patterns: list[str]) -> tf.data.Dataset:
    """Serialised transformed examples, in the order of the files' names."""
    return tf.data.TFRecordDataset(_files(patterns))


@_as_written
def count_examples(patterns: list[str]) -> int:
    """Number of records in all files that match."""
    return int(_examples(patterns).reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))


def _held_out(serialised: tf.Tensor, share: float) -> tf.Tensor:
    """Whether one record (string scalar) belongs to the held-out part, by a hash of its pixels."""
    pixels = tf.io.parse_single_example(serialised, {PIXELS: tf.io.FixedLenFeature([1], tf.string)})[PIXELS][0]
    return tf.strings.to_hash_bucket_fast(pixels, _HASH_BUCKETS) < round(share * _HASH_BUCKETS)


@_as_written
def held_out_records(patterns: list[str], share: float) -> list[int]:
    """Which records do not train, counted from 0 in the order of the files' names."""
    flags = _examples(patterns).map(lambda record: _held_out(record, share))
    return [number for number, flag in enumerate(flags.as_numpy_iterator()) if flag]


def count_pixels(patterns: list[str], spec: FeatureSpec) -> np.ndarray:
    """int64[C]: how many pixels of all records have each label."""
    counts = np.zeros(spec.num_classes, np.int64)
    for _, labels in _unpacked(_examples(patterns), 64, spec).as_numpy_iterator():
        # The ignore label lies above every class.
        counts += np.bincount(labels.ravel(), minlength=IGNORE_LABEL + 1)[: spec.num_classes]
    return counts


def _unpack(serialised: tf.Tensor, spec: FeatureSpec) -> tuple[tf.Tensor, tf.Tensor]:
    parsed = tf.io.parse_example(serialised, {name: tf.io.FixedLenFeature([1], tf.string) for name in (PIXELS, LABELS)})
    return unpack_pixels(parsed[PIXELS], spec), unpack_labels(parsed[LABELS], spec)


@_as_written
def _unpacked(dataset: tf.data.Dataset, batch_size: int, spec: FeatureSpec) -> tf.data.Dataset:
    """Batches of serialised examples, unpacked on all cores."""
    return _untuned(dataset.batch(batch_size).map(lambda s: _unpack(s, spec), num_parallel_calls=tf.data.AUTOTUNE))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without TensorFlow's tuner: all cores work on it.

    The end of a dataset waits until the tuner, which pauses twice as long each time, looks at it again: a reading of
    0.33 s took 0.63 s, and a training of a minute ended up to 35 s late.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@_as_written
def training_batches(
    patterns: list[str],
    count: int,
    spec: FeatureSpec,
    settings: TrainingSettings,
    start: int = 0,
    steps: int | None = None,
) -> tf.data.Dataset:
    """Endless batches (float32[N, H, W, 3], uint8[N, H, W]), shuffled and augmented.

    Step k is the same batch in every run with one seed: order and augmentation follow from seed, k and `steps` alone.

    Args:
      patterns: globs of TFRecords.
      count: number of examples behind them that train.
      spec: shapes.
      settings: batch size, seed, augmentation; with early stopping, the share that does not train.
      start: the step to begin with; at most one epoch is read to find its place.
      steps: of the whole training, towards whose end augmentation relaxes; None where that is not known yet.
    """
    example_bytes = spec.height * spec.width * 7
    dataset = _examples(patterns)
    if settings.early_stopping:
        dataset = dataset.filter(lambda record: tf.logical_not(_held_out(record, settings.early_stopping.share)))
    if count * example_bytes <= _KEPT_BYTES:
        dataset = dataset.cache()
    window = max(1, min(count, _KEPT_BYTES // example_bytes))
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
        share = strength(step, steps, settings.augment)
        return augment(pixels, labels, seed, settings.augment, spec, share)

    return _untuned(batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2))


@_as_written
def evaluation_batches(
    patterns: list[str], spec: FeatureSpec, batch_size: int, held_out_share: float | None = None
) -> tf.data.Dataset:
    """Every example once, in order, as batches (float32[N, H, W, 3], uint8[N, H, W]); the last may be smaller.

    With a share, only the examples of that held-out part.
    """
    dataset = _examples(patterns)
    if held_out_share is not None:
        dataset = dataset.filter(lambda record: _held_out(record, held_out_share))
    return _unpacked(dataset, batch_size, spec).prefetch(2)
