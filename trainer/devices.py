"""Over which devices and processes a step is spread, and whether float16 pays on them."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from trainer.settings import MULTI_WORKER
from trainer.workers import multi_worker_strategy


def strategy_for(name: str) -> tf.distribute.Strategy:
    """The strategy of a process; made before anything else of TensorFlow is used where there are several processes.

    Args:
      name: `training.strategy`.

    Raises:
      ValueError: see `multi_worker_strategy`.
    """
    if name == MULTI_WORKER:
        return multi_worker_strategy()
    several = name == "auto" and len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several or name == "mirrored" else tf.distribute.get_strategy()


def uses_float16(setting: bool | str) -> bool:
    """Whether to train in mixed precision: as told, or for `auto` where every GPU has units for it.

    Those came with compute capability 7.0 (NVIDIA, "Train With Mixed Precision"); on CPUs half precision is slower.
    """
    if setting != "auto":
        return bool(setting)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(found.get("compute_capability", (0, 0)) >= (7, 0) for found in details)


@contextlib.contextmanager
def layer_policy(name: str) -> Iterator[None]:
    """Layers made inside compute as the Keras policy says, such as `mixed_float16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def replicated(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Variables made inside live on every device of the strategy and stay in step.

    Keras 3 makes them without an aggregation, so that what a replica assigns (a norm's statistics, a dropout's seed)
    would stay its own: here floats become the mean over replicas, and integers those of the first.
    """

    def aggregated(create, **options):
        floating = options.get("dtype") is None or tf.as_dtype(options["dtype"]).is_floating
        kind = tf.VariableAggregation.MEAN if floating else tf.VariableAggregation.ONLY_FIRST_REPLICA
        return create(**options | {"aggregation": kind})

    if strategy.num_replicas_in_sync == 1:
        yield
        return
    with strategy.scope(), tf.variable_creator_scope(aggregated):
        yield


def split_batch(
    strategy: tf.distribute.Strategy, batch: tuple[tf.Tensor, ...]
) -> tuple[tf.distribute.DistributedValues]:
    """Gives each replica an equal part of every tensor of a batch, along the first axis."""
    replicas = strategy.num_replicas_in_sync
    parts = [tf.split(tensor, replicas) for tensor in batch]
    return tuple(
        strategy.experimental_distribute_values_from_function(lambda c, part=part: part[c.replica_id_in_sync_group])
        for part in parts
    )


def total_over_replicas(sums: list[tf.Tensor]) -> list[tf.Tensor]:
    """Adds each tensor up over all replicas; inside a replica's step, differentiable."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)
