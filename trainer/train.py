"""`run_fn`: what TFX's Trainer calls. Reads transformed examples, trains, writes the curve and the SavedModel.

With `training.strategy: multi_worker` each process calls it with the same arguments, on a root that all of them see.
"""

import json
import os
from collections.abc import Callable

import tensorflow as tf
import tensorflow_transform as tft
from absl import logging
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer.batches import count_examples, count_pixels, evaluation_batches, held_out_records, training_batches
from trainer.checkpoint import Checkpoint, Progress, content_key
from trainer.devices import strategy_for
from trainer.features import FeatureSpec
from trainer.loop import Learner
from trainer.losses import class_weights
from trainer.notes import note
from trainer.settings import ModelSettings, TrainingSettings
from trainer.signatures import export
from trainer.stopping import stopping_record
from trainer.warm_start import start_warm
from trainer.workers import Workers

CURVE = "learning_curve.json"


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports one model.

    Args:
      fn_args: TFX's arguments. `custom_config` holds the JSON of `feature_spec`, `model` and `training`, and the folder
        of `checkpoints`.

    Raises:
      ValueError: if fewer photos train than fill a batch, early stopping has none to measure, the backbone's weights do
        not load, or several processes do not find each other or not the same files.
    """
    spec = FeatureSpec.model_validate_json(fn_args.custom_config["feature_spec"])
    model_settings = ModelSettings.model_validate_json(fn_args.custom_config["model"])
    training = TrainingSettings.model_validate_json(fn_args.custom_config["training"])
    # Processes that train together must find each other before anything else of TensorFlow is used.
    strategy = strategy_for(training.strategy)
    workers = Workers(strategy)
    if workers.task.count > 1:
        note("process %d of %d that train together", workers.task.index + 1, workers.task.count)
    stopping = training.early_stopping
    aside = held_out_records(fn_args.train_files, stopping.share) if stopping else []
    count = count_examples(fn_args.train_files) - len(aside)
    _check_counts(count, len(aside), training)
    weights = class_weights(training, spec.class_names, lambda: count_pixels(fn_args.train_files, spec))
    workers.agree("photos to train on", count)
    learner = Learner(spec, model_settings, training, list(weights.values()) if weights else None, strategy)
    base = start_warm(learner, spec, fn_args.base_model) if training.warm_start else None
    folder = fn_args.custom_config["checkpoints"]
    checkpoint = Checkpoint(folder, training_key(fn_args), training.checkpoint_seconds, workers.is_chief)

    def batches(start: int = 0, steps: int | None = None):
        return iter(training_batches(fn_args.train_files, count, spec, training, start, steps))

    progress = checkpoint.restore(learner.variables)
    workers.agree("steps done", progress.step if progress else 0)
    if progress is None:
        progress = Progress(training.steps or learner.steps_for(training.minutes, batches()))
    else:
        note("resumed at step %d of %d", progress.step, progress.steps)
    steps = progress.steps
    if stopping:
        held_out = evaluation_batches(fn_args.train_files, spec, training.batch_size, stopping.share)
    else:
        held_out = evaluation_batches(fn_args.eval_files, spec, training.batch_size)
    report = _curve_writer(fn_args.model_run_dir, steps) if workers.is_chief else lambda step, point: None
    for point in progress.curve:
        report(point["step"], point)
    curve = learner.fit(steps, batches(progress.step, steps), held_out, report, progress, checkpoint)
    facts = {
        "model": model_settings.model_dump(),
        "parameters": learner.model.count_params(),
        "steps": curve[-1]["step"],
        "photos": count,
        "seed": training.seed,
        "mixed_precision": learner.float16,
        "class_weights": weights,
        "base_model": base,
    }
    record = {"early_stopping": stopping_record(curve, steps, stopping, aside)} if stopping else {}
    if workers.is_chief:
        tf.io.gfile.makedirs(fn_args.model_run_dir)
        with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, CURVE), "w") as file:
            json.dump({**facts, **record, "curve": curve}, file, indent=2)
        transform_output = tft.TFTransformOutput(fn_args.transform_output)
        export(learner.averaged, transform_output, spec, fn_args.serving_model_dir, facts, model_settings.flip_average)
    # TFX looks for the model in each of them.
    workers.wait()
    checkpoint.remove()


def _curve_writer(folder: str, steps: int) -> Callable[[int, dict], None]:
    """Writes points of the learning curve for TensorBoard, and to the log."""
    writer = tf.summary.create_file_writer(folder)

    def report(step: int, point: dict) -> None:
        with writer.as_default(step):
            for name in point.keys() - {"step"}:
                tf.summary.scalar(name, point[name])
        writer.flush()
        logging.info("step %d of %d: loss %.3f, mean_iou %.3f", step, steps, point["loss"], point["mean_iou"])

    return report


def training_key(fn_args: FnArgs) -> str:
    """Stands for all that decides the result of a training, so that a checkpoint serves no other."""
    config = dict(fn_args.custom_config)
    training = TrainingSettings.model_validate_json(config.pop("training"))
    recipe = training.model_dump(exclude={"checkpoint_seconds"})
    files = [fn_args.train_files, fn_args.eval_files, fn_args.transform_output, fn_args.base_model]
    return content_key(config, recipe, files, _written(fn_args), fn_args.hyperparameters)


def _written(fn_args: FnArgs) -> list[int]:
    """When the examples were written: with a metadata database that was begun anew, others come to lie under a path."""
    patterns = [*fn_args.train_files, *fn_args.eval_files]
    return [tf.io.gfile.stat(path).mtime_nsec for path in sorted(tf.io.gfile.glob(patterns))]


def _check_counts(training_photos: int, held_out: int, settings: TrainingSettings) -> None:
    if settings.early_stopping and not held_out:
        raise ValueError(
            f"training.early_stopping.share {settings.early_stopping.share} holds out none of {training_photos} "
            f"training photos; raise the share or ingest more photos"
        )
    if training_photos < settings.batch_size:
        beside = f" beside {held_out} held out for early stopping" if held_out else ""
        raise ValueError(
            f"the training split holds {training_photos} photos{beside}, fewer than training.batch_size "
            f"{settings.batch_size}; lower the batch size or ingest more photos"
        )
