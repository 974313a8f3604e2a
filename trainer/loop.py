"""The training loop: one plain step function, an averaged copy of the net, and a learning curve.

`Learner.fit` runs a fixed number of steps; `Learner.steps_for` turns minutes into that number by a short timing. With
several GPUs or processes each runs the step on its part of the batch, and all make the same update.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from trainer.checkpoint import Checkpoint, Progress
from trainer.confusion import confusion_matrix, scores
from trainer.devices import layer_policy, replicated, split_batch, strategy_for, total_over_replicas, uses_float16
from trainer.features import FeatureSpec
from trainer.losses import segmentation_loss
from trainer.model import build_model
from trainer.settings import ModelSettings, TrainingSettings
from trainer.stopping import best_point, out_of_patience
from trainer.workers import Workers

_TIMED_STEPS = 8


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then a cosine to zero at the last step (Loshchilov and Hutter 2017)."""
    warmup = settings.warmup_share * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, steps - warmup)
    return settings.learning_rate * 0.5 * (1.0 + float(np.cos(np.pi * progress)))


def _in_float32(layer: keras.Layer) -> keras.Layer:
    return type(layer).from_config(layer.get_config() | {"dtype": "float32"})


class Learner:
    """A net, its optimiser and the averaged copy that is exported.

    Attributes:
      model: the net that gradients move; on every device of a strategy.
      averaged: the exponential moving average of all its variables, norms' statistics included; float32, on one device.
      best: with early stopping, the averaged variables at the best point of the curve so far; else empty.
      float16: whether the step computes in mixed precision.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        model: ModelSettings,
        training: TrainingSettings,
        class_weights: Sequence[float] | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ):
        """Builds the net.

        Args:
          spec: classes, input size and constants of normalisation.
          model, training: see there.
          class_weights: one number per class for the loss; None weighs all alike.
          strategy: devices to train on; None takes that of `training.strategy`.

        Raises:
          ValueError: if the batch cannot be split evenly over the devices, or the backbone's weights do not load.
        """
        self._strategy = strategy or strategy_for(training.strategy)
        self._workers = Workers(self._strategy)
        self._replicas = self._strategy.num_replicas_in_sync
        if training.batch_size % self._replicas:
            raise ValueError(
                f"training.batch_size {training.batch_size} cannot be split evenly over {self._replicas} devices; "
                f"take a multiple of {self._replicas}"
            )
        # Keras numbers layers through a process and TensorFlow orders a graph's sums by name: a second run in one
        # process would differ in the last bits.
        keras.utils.clear_session()
        keras.utils.set_random_seed(training.seed)
        self._spec, self._training, self._class_weights = spec, training, class_weights
        self.float16 = uses_float16(training.mixed_precision)
        with replicated(self._strategy), layer_policy("mixed_float16" if self.float16 else "float32"):
            self.model = build_model(model, spec.height, spec.width, spec.num_classes, spec.pixel_mean, spec.pixel_std)
        self.averaged = keras.models.clone_model(self.model, clone_function=_in_float32)
        self.averaged.set_weights(self.model.get_weights())
        with self._strategy.scope():
            self._optimizer = self._build_optimizer()
        averaged = self.averaged.variables if training.early_stopping else []
        self.best = [keras.Variable(v.numpy(), dtype=v.dtype, trainable=False) for v in averaged]
        self._step = tf.function(self._train_step)
        self._infer = tf.function(lambda pixels: tf.argmax(self.averaged(pixels, training=False), axis=-1))

    def _build_optimizer(self) -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.AdamW(weight_decay=self._training.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        if self.float16:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self.model.trainable_variables)
        return optimizer

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that a step changes, dropout's seeds included."""
        return [*self.model.variables, *self.averaged.variables, *self._optimizer.variables, *self.best]

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
        if self._replicas == 1:
            loss = self._descend(pixels, labels, rate)
        else:
            losses = self._strategy.run(self._descend, (pixels, labels, rate))
            loss = self._strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)
        for mean, variable in zip(self.averaged.variables, self.model.variables, strict=True):
            if variable.dtype == "float32":
                mean.assign(decay * mean + (1.0 - decay) * variable)
        return loss

    def _descend(self, pixels: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        """One update on one replica; returns the loss of the whole batch."""
        several = self._replicas > 1
        with tf.GradientTape() as tape:
            loss = segmentation_loss(
                labels,
                tf.cast(self.model(pixels, training=True), tf.float32),
                self._training.dice_weight,
                self._class_weights,
                self._training.focal_gamma,
                **({"total": total_over_replicas} if several else {}),
            )
            scaled = self._optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        gradients = tape.gradient(scaled, [v.value for v in variables])
        if several:
            # Each replica differentiates the sum of all replicas' losses, which are the same loss: hence one division.
            # Keras adds up what replicas hand it, hence the other; it looks for overflow in the first replica's alone,
            # so all must hand it the same.
            gradients = [total / self._replicas**2 for total in total_over_replicas(gradients)]
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(gradients, variables)
        return loss

    def _run_step(self, step: int, steps: int, batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        # The average follows closely at first, so that a short run does not export its random start.
        decay = min(self._training.ema_decay, (1.0 + step) / (10.0 + step))
        rate = learning_rate(step, steps, self._training)
        if self._replicas > 1:
            batch = split_batch(self._strategy, batch)
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
        # Every process has its own clock.
        steps = self._workers.as_the_chief_has_it(max(1, int(minutes * 60 / float(np.median(times)))))
        logging.info("%.3f s a step: %d steps in %.2f minutes", np.median(times), steps, minutes)
        return steps

    def evaluate(self, batches: tf.data.Dataset) -> dict[str, float]:
        """Scores of the averaged net over batches (float32[N, H, W, 3], uint8[N, H, W]), at the model's size."""
        classes = self._spec.num_classes
        matrix = np.zeros([classes, classes], np.int64)
        task = self._workers.task
        for pixels, labels in batches.shard(task.count, task.index):
            matrix += confusion_matrix(labels.numpy(), self._infer(pixels).numpy().astype(np.uint8), classes)
        return scores(self._workers.total(matrix), self._spec.class_names, self._spec.background_label)

    def fit(
        self,
        steps: int,
        batches: Iterator,
        held_out: tf.data.Dataset,
        report: Callable[[int, dict], None],
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[dict[str, float]]:
        """Trains for a number of steps, or until early stopping has seen enough.

        Args:
          steps: how many; the schedule reaches zero at the last.
          batches: endless (float32[N, H, W, 3], uint8[N, H, W]), from the first step that is not done.
          held_out: what the learning curve measures; nothing is chosen by it but what early stopping exports.
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
                if self._training.early_stopping:
                    self._keep_best(progress.curve)
                    if out_of_patience(progress.curve, self._training.early_stopping):
                        break
            progress.step = step + 1
            if checkpoint is not None and checkpoint.is_due():
                checkpoint.save(self.variables, progress)
        if self._training.early_stopping:
            for mean, best in zip(self.averaged.variables, self.best, strict=True):
                mean.assign(best)
        return progress.curve

    def _keep_best(self, curve: list[dict]) -> None:
        if best_point(curve) == len(curve) - 1:
            for best, mean in zip(self.best, self.averaged.variables, strict=True):
                best.assign(mean.value)
