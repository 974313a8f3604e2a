"""`run_fn`: what TFX's Trainer calls. Reads transformed examples, trains, writes the curve and the SavedModel."""

import json
import os
from collections.abc import Callable

import tensorflow as tf
import tensorflow_transform as tft
from absl import logging
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer.batches import count_examples, evaluation_batches, training_batches
from trainer.checkpoint import Checkpoint, Progress, content_key
from trainer.features import FeatureSpec
from trainer.loop import Learner
from trainer.notes import note
from trainer.settings import ModelSettings, TrainingSettings
from trainer.signatures import export
from trainer.warm_start import start_warm

CURVE = "learning_curve.json"


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports one model.

    Args:
      fn_args: TFX's arguments. `custom_config` holds the JSON of `feature_spec`, `model` and `training`, and the folder
        of `checkpoints`.

    Raises:
      ValueError: if the training split holds fewer examples than one batch.
    """
    spec = FeatureSpec.model_validate_json(fn_args.custom_config["feature_spec"])
    model_settings = ModelSettings.model_validate_json(fn_args.custom_config["model"])
    training = TrainingSettings.model_validate_json(fn_args.custom_config["training"])
    count = count_examples(fn_args.train_files)
    if count < training.batch_size:
        raise ValueError(
            f"the training split holds {count} photos, fewer than training.batch_size {training.batch_size}; "
            f"lower the batch size or ingest more photos"
        )
    learner = Learner(spec, model_settings, training)
    base = start_warm(learner, spec, fn_args.base_model) if training.warm_start else None
    folder = fn_args.custom_config["checkpoints"]
    checkpoint = Checkpoint(folder, training_key(fn_args), training.checkpoint_seconds)

    def batches(start: int = 0):
        return iter(training_batches(fn_args.train_files, count, spec, training, start))

    progress = checkpoint.restore(learner.variables)
    if progress is None:
        progress = Progress(training.steps or learner.steps_for(training.minutes, batches()))
    else:
        note("resumed at step %d of %d", progress.step, progress.steps)
    steps = progress.steps
    held_out = evaluation_batches(fn_args.eval_files, spec, training.batch_size)
    report = _curve_writer(fn_args.model_run_dir, steps)
    for point in progress.curve:
        report(point["step"], point)
    curve = learner.fit(steps, batches(progress.step), held_out, report, progress, checkpoint)
    facts = {
        "model": model_settings.model_dump(),
        "parameters": learner.model.count_params(),
        "steps": steps,
        "photos": count,
        "seed": training.seed,
        "base_model": base,
    }
    tf.io.gfile.makedirs(fn_args.model_run_dir)
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, CURVE), "w") as file:
        json.dump({**facts, "curve": curve}, file, indent=2)
    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    export(learner.averaged, transform_output, spec, fn_args.serving_model_dir, facts, model_settings.flip_average)
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
    return content_key(config, recipe, files, fn_args.hyperparameters)
