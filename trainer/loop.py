"""The training loop: one plain step function, an averaged copy of the net, and a learning curve.

`Learner.fit` runs a fixed number of steps; `Learner.steps_for` turns minutes into that number by a short timing.
"""

import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from trainer.checkpoint import Checkpoint, Progress
from trainer.confusion import confusion_matrix, scores
from trainer.features import IGNORE_LABEL, FeatureSpec
from trainer.model import build_model
from trainer.settings import ModelSettings, TrainingSettings

_TIMED_STEPS = 8


def segmentation_loss(labels: tf.Tensor, logits: tf.Tensor, dice_weight: float) -> tf.Tensor:
    """Cross-entropy over all counted pixels, plus soft Dice (Milletari et al. 2016) averaged over classes.

    Args:
      labels: uint8[N, H, W], 0..C-1 or `IGNORE_LABEL`, whose pixels weigh nothing.
      logits: float32[N, H, W, C].
      dice_weight: weight of the Dice term.

    Returns:
      float32 scalar.
    """
    counted = tf.cast(labels != IGNORE_LABEL, tf.float32)
    ids = tf.where(labels == IGNORE_LABEL, tf.zeros_like(labels), labels)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(ids, tf.int32), logits)
    loss = tf.math.divide_no_nan(tf.reduce_sum(entropy * counted), tf.reduce_sum(counted))
    truth = tf.one_hot(ids, logits.shape[-1]) * counted[..., tf.newaxis]
    probabilities = tf.nn.softmax(logits) * counted[..., tf.newaxis]
    overlap = tf.reduce_sum(truth * probabilities, axis=[0, 1, 2])
    total = tf.reduce_sum(truth + probabilities, axis=[0, 1, 2])
    return loss + dice_weight * (1.0 - tf.reduce_mean((2.0 * overlap + 1.0) / (total + 1.0)))


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then a cosine to zero at the last step (Loshchilov and Hutter 2017)."""
    warmup = settings.warmup_share * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, steps - warmup)
    return settings.learning_rate * 0.5 * (1.0 + float(np.cos(np.pi * progress)))


class Learner:
    """A net, its optimiser and the averaged copy that is exported.

    Attributes:
      model: the net that gradients move.
      averaged: the exponential moving average of all its variables, norms' statistics included.
    """

    def __init__(self, spec: FeatureSpec, model: ModelSettings, training: TrainingSettings):
        # Keras numbers layers through a process and TensorFlow orders a graph's sums by name: a second run in one
        # process would differ in the last bits.
        keras.utils.clear_session()
        keras.utils.set_random_seed(training.seed)
        self._spec, self._training = spec, training
        self.model = build_model(model, spec.height, spec.width, spec.num_classes)
        self.averaged = keras.models.clone_model(self.model)
        self.averaged.set_weights(self.model.get_weights())
        self._optimizer = keras.optimizers.AdamW(weight_decay=training.weight_decay)
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self._optimizer.build(self.model.trainable_variables)
        self._step = tf.function(self._train_step)
        self._infer = tf.function(lambda pixels: tf.argmax(self.averaged(pixels, training=False), axis=-1))

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that a step changes, dropout's seeds included."""
        return [*self.model.variables, *self.averaged.variables, *self._optimizer.variables]

    def start_from(self, weights: list[np.ndarray]) -> None:
        """Gives both nets the weights of a trained one, in the order of `model.variables`; the recipe stays.

        With 0.3 times the peak rate the mean IoU of benchmarks/warm_start.py is 0.628 instead of 0.675.
        """
        for net in (self.model, self.averaged):
            for variable, value in zip(net.variables, weights, strict=True):
                # The others are the seeds of dropout.
                if variable.dtype == "float32":
                    variable.assign(value)

    def _train_step(self, pixels: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = segmentation_loss(labels, self.model(pixels, training=True), self._training.dice_weight)
        variables = self.model.trainable_variables
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        for mean, variable in zip(self.averaged.variables, self.model.variables, strict=True):
            if variable.dtype == "float32":
                mean.assign(decay * mean + (1.0 - decay) * variable)
        return loss

    def _run_step(self, step: int, steps: int, batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        # The average follows closely at first, so that a short run does not export its random start.
        decay = min(self._training.ema_decay, (1.0 + step) / (10.0 + step))
        rate = learning_rate(step, steps, self._training)
        return self._step(*batch, tf.constant(rate, tf.float32), tf.constant(decay, tf.float32))

    def steps_for(self, minutes: float, batches: Iterator) -> int:
        """How many steps fit into the minutes, by the median of a few; every variable is put back afterwards."""
        before = [v.numpy() for v in self.variables]
        self._run_step(0, _TIMED_STEPS, next(batches))
        times = []
        for step in range(_TIMED_STEPS):
            start = time.monotonic()
            self._run_step(step, _TIMED_STEPS, next(batches)).numpy()
            times.append(time.monotonic() - start)
        for variable, value in zip(self.variables, before, strict=True):
            variable.assign(value)
        steps = max(1, int(minutes * 60 / float(np.median(times))))
        logging.info("%.3f s a step: %d steps in %.2f minutes", np.median(times), steps, minutes)
        return steps

    def evaluate(self, batches: tf.data.Dataset) -> dict[str, float]:
        """Scores of the averaged net over batches (float32[N, H, W, 3], uint8[N, H, W]), at the model's size."""
        classes = self._spec.num_classes
        matrix = np.zeros([classes, classes], np.int64)
        for pixels, labels in batches:
            matrix += confusion_matrix(labels.numpy(), self._infer(pixels).numpy().astype(np.uint8), classes)
        return scores(matrix, self._spec.class_names, self._spec.background_label)

    def fit(
        self,
        steps: int,
        batches: Iterator,
        held_out: tf.data.Dataset,
        report: Callable[[int, dict], None],
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[dict[str, float]]:
        """Trains for a number of steps.

        Args:
          steps: how many; the schedule reaches zero at the last.
          batches: endless (float32[N, H, W, 3], uint8[N, H, W]), from the first step that is not done.
          held_out: what the learning curve measures; nothing is chosen by it.
          report: called with each new point of the curve.
          progress: what is done already, as `checkpoint` restored it; None starts at the beginning.
          checkpoint: written whenever it is due; None writes none.

        Returns:
          The learning curve: `step`, `loss` (mean since the last point), `learning_rate`, `mean_iou`, `pixel_accuracy`.

        Raises:
          FloatingPointError: if the loss is no longer a number.
        """
        evaluations = self._training.evaluations
        points = {max(1, round(steps * (i + 1) / evaluations)) for i in range(evaluations)}
        progress = progress or Progress(steps)
        for step in range(progress.step, steps):
            progress.losses.append(self._run_step(step, steps, next(batches)))
            if step + 1 in points:
                loss = float(np.mean([np.asarray(loss) for loss in progress.losses]))
                if not np.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss is {loss} after step {step + 1}; a lower training.learning_rate mends that"
                    )
                measured = self.evaluate(held_out)
                point = {"step": step + 1, "loss": loss, "learning_rate": learning_rate(step, steps, self._training)}
                point |= {key: measured[key] for key in ("mean_iou", "pixel_accuracy")}
                progress.curve.append(point)
                progress.losses.clear()
                report(step + 1, point)
            progress.step = step + 1
            if checkpoint is not None and checkpoint.is_due():
                checkpoint.save(self.variables, progress)
        return progress.curve
