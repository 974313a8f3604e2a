"""The models that TFMA asks, with signatures that take an input as TFMA gives it.

TFMA names no input where a model takes serialised examples. To TensorFlow that is an error at first, whose message it
makes of all the photos of the batch, before it sees that only one input can be meant: 2.3 of 5.9 ms a photo of 97 KB.
"""

import tensorflow as tf
import tensorflow_model_analysis as tfma

PATH = f"{__name__}.eval_shared_model"
"""What TFX's Evaluator imports for its execution property `custom_eval_shared_model`."""


def eval_shared_model(**given) -> tfma.types.EvalSharedModel:
    """`tfma.default_eval_shared_model` of the same arguments; what it loads is a `_Model`."""
    shared = tfma.default_eval_shared_model(**given)
    load, tags = shared.model_loader.construct_fn, shared.model_loader.tags
    return shared._replace(model_loader=tfma.types.ModelLoader(lambda: _Model(load()), tags))


class _Model:
    """A loaded model, which it keeps in memory, by its signatures."""

    def __init__(self, loaded: tf.Module):
        self._loaded = loaded
        self.signatures = {name: _Signature(function) for name, function in loaded.signatures.items()}


class _Signature:
    """A signature of one input, which need not be named."""

    def __init__(self, function: tf.types.experimental.ConcreteFunction):
        self._function = function
        self.structured_input_signature = function.structured_input_signature

    def __call__(self, given: tf.Tensor) -> dict[str, tf.Tensor]:
        (name,) = self.structured_input_signature[1]
        return self._function(**{name: given})
