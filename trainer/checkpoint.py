"""Where a killed training goes on: one file a training, named by everything that decides its result.

    checkpoint = Checkpoint(folder, key, seconds=60)
    progress = checkpoint.restore(learner.variables) or Progress(steps)
    learner.fit(progress.steps, batches, held_out, report, progress, checkpoint)
    checkpoint.remove()

TFX gives each execution folders of its own, so the file lies outside of them. Two runs that train the same thing at
once share it, which is right whoever wrote it last: they agree bit for bit.
"""

import contextlib
import hashlib
import io
import json
import os
import time
import uuid
import zipfile
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from trainer.notes import note

_SUFFIX = ".npz"
_OTHERS_KEPT = 2


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
      steps: of the whole training; a budget in minutes is turned into steps only once.
      step: how many of them are done.
      curve: the learning curve so far.
      losses: float32 scalars, of the steps since its last point.
    """

    steps: int
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[np.float32 | tf.Tensor] = field(default_factory=list)


def content_key(*parts) -> str:
    """16 hexadecimal digits that stand for values of JSON types."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoint:
    """The checkpoint of one training.

    Args:
      folder: where the checkpoints of all trainings are. Those of others go, except for the newest two.
      key: names the training.
      seconds: time between two writes.
      writer: whether this process writes and deletes; of several that train together, one does.
    """

    def __init__(self, folder: str, key: str, seconds: float, writer: bool = True):
        self._path, self._seconds, self._writer = os.path.join(folder, key + _SUFFIX), seconds, writer
        self._part = f"{self._path}.{uuid.uuid4().hex[:8]}.part"
        self._written = time.monotonic()
        if not writer:
            return
        tf.io.gfile.makedirs(folder)
        others = [os.path.join(folder, name) for name in tf.io.gfile.listdir(folder) if name != key + _SUFFIX]
        for path in sorted(others, key=_age)[:-_OTHERS_KEPT]:
            _remove(path)

    def is_due(self) -> bool:
        return self._writer and time.monotonic() - self._written >= self._seconds

    def save(self, variables: list[keras.Variable], progress: Progress) -> None:
        """Writes beside and renames, so that a kill leaves the file as it was before or as it is afterwards."""
        facts = {"steps": progress.steps, "step": progress.step, "curve": progress.curve}
        arrays = {f"variable_{i}": variable.numpy() for i, variable in enumerate(variables)}
        arrays["losses"] = np.array([np.asarray(loss) for loss in progress.losses], np.float32)
        buffer = io.BytesIO()
        np.savez(buffer, facts=json.dumps(facts), **arrays)
        try:
            with tf.io.gfile.GFile(self._part, "wb") as file:
                file.write(buffer.getvalue())
        except tf.errors.OpError:
            # A full disk: the checkpoint of before stays, and half of this one would only take its space.
            _remove(self._part)
            raise
        tf.io.gfile.rename(self._part, self._path, overwrite=True)
        self._written = time.monotonic()

    def restore(self, variables: list[keras.Variable]) -> Progress | None:
        """Sets all variables and says how far the training was; sets none of them if there is no whole checkpoint.

        Args:
          variables: as many as were saved, with the same shapes and dtypes.
        """
        if not tf.io.gfile.exists(self._path):
            return None
        try:
            progress, values = self._read()
            for variable, value in zip(variables, values, strict=True):
                if (tuple(variable.shape), variable.dtype) != (value.shape, value.dtype.name):
                    raise ValueError(f"{variable.path} is {value.dtype}{value.shape} in it")
        # What NumPy and zipfile raise on files that are cut off, altered or from elsewhere; members carry a checksum.
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, OSError) as error:
            note("%s: cannot be used (%s); training starts afresh", self._path, error)
            return None
        except tf.errors.NotFoundError:
            # The same training beside this one came to its end.
            return None
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return progress

    def _read(self) -> tuple[Progress, list[np.ndarray]]:
        with tf.io.gfile.GFile(self._path, "rb") as file:
            stored = np.load(io.BytesIO(file.read()), allow_pickle=False)
        values = [stored[f"variable_{i}"] for i in range(sum(name.startswith("variable_") for name in stored.files))]
        return Progress(**json.loads(str(stored["facts"])), losses=list(stored["losses"])), values

    def remove(self) -> None:
        """Deletes the file, once what it would save is safe elsewhere."""
        if self._writer:
            _remove(self._path)


def _age(path: str) -> int:
    """When a file was written, in nanoseconds; one that is gone meanwhile is the oldest."""
    try:
        return tf.io.gfile.stat(path).mtime_nsec
    except tf.errors.NotFoundError:
        return 0


def _remove(path: str) -> None:
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.remove(path)
