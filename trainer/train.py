"""`run_fn`: what TFX's Trainer calls. Reads transformed examples, trains, writes the curve and the SavedModel."""

import json
import os

import tensorflow as tf
import tensorflow_transform as tft
from absl import logging
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer.batches import count_examples, evaluation_batches, training_batches
from trainer.features import FeatureSpec
from trainer.loop import Learner
from trainer.settings import ModelSettings, TrainingSettings
from trainer.signatures import export

CURVE = "learning_curve.json"


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports one model.

    Args:
      fn_args: TFX's arguments. `custom_config` holds the JSON of `feature_spec`, `model` and `training`.

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

    def batches():
        return iter(training_batches(fn_args.train_files, count, spec, training))

    steps = training.steps or learner.steps_for(training.minutes, batches())
    held_out = evaluation_batches(fn_args.eval_files, spec, training.batch_size)
    writer = tf.summary.create_file_writer(fn_args.model_run_dir)

    def report(step: int, point: dict) -> None:
        with writer.as_default(step):
            for name in point.keys() - {"step"}:
                tf.summary.scalar(name, point[name])
        writer.flush()
        logging.info("step %d of %d: loss %.3f, mean_iou %.3f", step, steps, point["loss"], point["mean_iou"])

    curve = learner.fit(steps, batches(), held_out, report)
    facts = {
        "model": model_settings.model_dump(),
        "parameters": learner.model.count_params(),
        "steps": steps,
        "photos": count,
        "seed": training.seed,
    }
    tf.io.gfile.makedirs(fn_args.model_run_dir)
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, CURVE), "w") as file:
        json.dump({**facts, "curve": curve}, file, indent=2)
    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    export(learner.averaged, transform_output, spec, fn_args.serving_model_dir, facts, model_settings.flip_average)
