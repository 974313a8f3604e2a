"""The weights that a training starts from when `training.warm_start` is on: those of a model exported before.

`signatures.ExportedModel` tracks its variables in the order of `model.variables`, so the export itself holds all that
is needed, in its checkpoint.
"""

import json
import os

import keras
import numpy as np
import tensorflow as tf

from trainer.features import DESCRIPTION, FeatureSpec
from trainer.loop import Learner
from trainer.notes import note

_VARIABLE = "weights/{}/.ATTRIBUTES/VARIABLE_VALUE"


def start_warm(learner: Learner, spec: FeatureSpec, base_model: str | None) -> str | None:
    """Lets a training start from a base model; from scratch, and saying so, where there is none or it does not fit.

    Args:
      learner: a new one.
      spec: its classes and size.
      base_model: folder of the SavedModel, or None.

    Returns:
      The base model's folder if it is used.
    """
    if base_model is None:
        note("no blessed model to start from: trains from scratch")
        return None
    try:
        learner.start_from(base_weights(base_model, spec, learner.model))
    except ValueError as reason:
        note("the blessed model %s is no start for this training, since %s: trains from scratch", base_model, reason)
        return None
    note("starts from the blessed model %s", base_model)
    return base_model


def base_weights(folder: str, spec: FeatureSpec, model: keras.Model) -> list[np.ndarray]:
    """Reads the variables of an exported model for a net of the same form.

    Args:
      folder: a SavedModel that `signatures.export` wrote.
      spec: classes and size that the net is for.
      model: the net; it is not changed.

    Returns:
      A value for each of `model.variables`.

    Raises:
      ValueError: with a reason, if the model is for other classes, of another size, another net, or cannot be read.
    """
    try:
        with tf.io.gfile.GFile(os.path.join(folder, DESCRIPTION)) as file:
            base = json.load(file)["feature_spec"]
        reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
    except tf.errors.OpError as error:
        raise ValueError(f"it cannot be read ({error.message})") from error
    names = [definition["name"] for definition in base["classes"]]
    if names != spec.class_names:
        raise ValueError(f"it knows the classes {names}, not {spec.class_names}")
    if (base["height"], base["width"]) != (spec.height, spec.width):
        raise ValueError(f"it takes {base['height']}x{base['width']} pixels, not {spec.height}x{spec.width}")
    shapes = reader.get_variable_to_shape_map()
    keys = [_VARIABLE.format(i) for i in range(len(model.variables))]
    if [shapes.get(key) for key in keys] != [list(v.shape) for v in model.variables]:
        raise ValueError("it is another net")
    return [reader.get_tensor(key) for key in keys]
