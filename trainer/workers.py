"""Several processes that train one model, on one machine or many: `training.strategy: multi_worker`.

Whoever starts them sets TF_CONFIG, as Vertex AI's training jobs and Kubeflow's training operator do:

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:4000", "10.0.0.2:4000"]}, "task": {"type": "worker", "index": 0}}'

All of them read the same batches and each trains on its part, so that a step is that of one process with the whole
batch. The chief, which is the first worker where none is called so, writes the files; and what follows from a clock is
its word.
"""

import json
import os
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

TF_CONFIG = "TF_CONFIG"
_KINDS = ("chief", "worker")


@dataclass(frozen=True)
class Task:
    """Which of the processes this one is; the chief has index 0."""

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        return self.index == 0


def this_task() -> Task:
    """What TF_CONFIG says; a process without it is alone.

    Raises:
      ValueError: if TF_CONFIG is none, or names others than a chief and workers.
    """
    try:
        given = json.loads(os.environ.get(TF_CONFIG) or "{}")
        cluster = given.get("cluster") or {}
        if not cluster:
            return Task()
        kind, index = given["task"]["type"], int(given["task"]["index"])
        counts = {name: len(addresses) for name, addresses in cluster.items()}
        if index >= counts[kind]:
            raise IndexError(index)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{TF_CONFIG}: is no JSON with a cluster and this process' task in it ({error!r}); mend what sets it"
        ) from error
    strange = sorted(counts.keys() - set(_KINDS))
    if strange:
        raise ValueError(f"{TF_CONFIG}: {strange[0]!r} takes no part in a training; name a chief and workers alone")
    return Task(index + (counts.get("chief", 0) if kind == "worker" else 0), sum(counts.values()))


def multi_worker_strategy() -> tf.distribute.Strategy:
    """Joins the other processes; returns when all are there.

    Raises:
      ValueError: if TF_CONFIG is missing or wrong, or this process has used TensorFlow already.
    """
    if not os.environ.get(TF_CONFIG):
        raise ValueError(
            f"training.strategy multi_worker: {TF_CONFIG} is not set; it is for processes that were started together, "
            f"so take auto here"
        )
    this_task()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            f"training.strategy multi_worker: this process has used TensorFlow before ({error}); give the Trainer one "
            f"of its own"
        ) from error


class Workers:
    """The processes that train with a strategy; one, unless it is a MultiWorkerMirroredStrategy.

    Every method is called by all of them, in the same order.

    Attributes:
      task: which of them this one is.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.task = this_task() if several else Task()

    @property
    def is_chief(self) -> bool:
        return self.task.is_chief

    def total(self, value: np.ndarray) -> np.ndarray:
        """Adds up the arrays, of one shape and dtype, that the processes bring."""
        if self.task.count == 1:
            return value
        local = self._strategy.num_replicas_in_sync // self.task.count

        def own(context: tf.distribute.ReplicaContext) -> tf.Tensor:
            # One device of each process brings it.
            return tf.constant(value if context.replica_id_in_sync_group % local == 0 else np.zeros_like(value))

        values = self._strategy.experimental_distribute_values_from_function(own)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()

    def as_the_chief_has_it(self, value: int) -> int:
        """The chief's number, for all."""
        return int(self.total(np.array(value if self.is_chief else 0, np.int64)))

    def agree(self, what: str, value: int) -> None:
        """Sees to it that all have one number.

        Raises:
          ValueError: in the processes whose number is not the chief's.
        """
        chiefs = self.as_the_chief_has_it(value)
        if value != chiefs:
            raise ValueError(
                f"training.strategy multi_worker: process {self.task.index} has {value} {what} and the chief {chiefs}; "
                f"give all processes the same files"
            )

    def wait(self) -> None:
        """Returns when all have come as far as this."""
        self.as_the_chief_has_it(0)
