"""The export: a SavedModel that takes encoded photos or serialised examples and needs no segpipe to run.

Signatures (all outputs at the model's size):
  serving_default(image_bytes: string[N]) -> mask uint8[N, H, W], probabilities float32[N, H, W, C]
  masks(image_bytes: string[N])           -> mask_png_bytes string[N], class ids only
  from_examples(examples: string[N])      -> as serving_default, from serialised raw examples
  masks_from_examples(examples: string[N])-> mask_png_bytes string[N, 1], for BulkInferrer
  transform_features(examples: string[N]) -> pixels string[N, 1], labels string[N, 1]

Beside them stands `from_pixels(pixels: float32[N, H, W, 3] in 0..255)`, with the outputs of serving_default: a function
of the loaded module, no signature. It is what `segpipe export` converts, since no other format decodes photos.
"""

import json
import os

import keras
import tensorflow as tf
import tensorflow_transform as tft

from trainer.features import DESCRIPTION, IMAGE, MASK_PNG_BYTES, MASKS_FROM_EXAMPLES, PIXELS, FeatureSpec
from trainer.preprocessing import normalise, unpack_pixels
from trainer.warmup import write_warmup_requests


class ExportedModel(tf.Module):
    """The transform graph and the net behind the signatures."""

    def __init__(
        self, model: keras.Model, transform_output: tft.TFTransformOutput, spec: FeatureSpec, flip_average: bool
    ):
        super().__init__()
        self._model, self._spec, self._flip_average = model, spec, flip_average
        self._raw_spec = transform_output.raw_feature_spec()
        # The layer is a tf_keras model: saving fails with "untracked resource" unless it hangs on the module. Only its
        # `call` is called; else it would count as built, and tf_keras would trace and save it a second time.
        self.transform = transform_output.transform_features_layer()
        # Keras 3 variables are not found by the TF1-style loader; the tf.Variables inside them are.
        self.weights = [variable.value for variable in model.variables]
        pixels = tf.TensorSpec([None, spec.height, spec.width, 3], tf.float32, name="pixels")
        # Traced once and called by all: a copy of the net in each signature takes seconds to load.
        self.answer = tf.function(self._answer, input_signature=[pixels], autograph=False)
        self.from_pixels = tf.function(self._from_pixels, input_signature=[pixels], autograph=False)

    def _predict(self, photos: tf.Tensor) -> dict[str, tf.Tensor]:
        packed = self.transform.call({IMAGE: tf.reshape(photos, [-1, 1])})[PIXELS]
        return self.answer(unpack_pixels(packed, self._spec))

    def _from_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.answer(normalise(pixels, self._spec))

    def _answer(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """float32[N, H, W, 3], normalised -> mask and probabilities."""
        probabilities = self._probabilities(pixels)
        if self._flip_average:
            mirrored = self._probabilities(tf.reverse(pixels, axis=[2]))
            probabilities = (probabilities + tf.reverse(mirrored, axis=[2])) / 2.0
        return {"mask": tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8), "probabilities": probabilities}

    def _probabilities(self, pixels: tf.Tensor) -> tf.Tensor:
        # Normalisation refuses a batch of no photos; one grey photo goes through in their place and is cut off again.
        count = tf.shape(pixels)[0]
        padded = tf.pad(pixels, [[0, tf.cast(count == 0, tf.int32)], [0, 0], [0, 0], [0, 0]])
        padded = tf.ensure_shape(padded, [None, *pixels.shape[1:]])
        return tf.nn.softmax(self._model(padded, training=False))[:count]

    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._predict(image_bytes)

    def masks(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        masks = self._predict(image_bytes)["mask"][..., tf.newaxis]
        return {MASK_PNG_BYTES: tf.map_fn(tf.io.encode_png, masks, fn_output_signature=tf.TensorSpec([], tf.string))}

    def _photos(self, examples: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(examples, {IMAGE: self._raw_spec[IMAGE]})[IMAGE]

    def from_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._predict(self._photos(examples))

    def masks_from_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        # BulkInferrer asks each element for its dtype, which a bare string has not; a row of one has it.
        return {MASK_PNG_BYTES: self.masks(self._photos(examples))[MASK_PNG_BYTES][:, tf.newaxis]}

    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.transform.call(tf.io.parse_example(examples, self._raw_spec))

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        def concrete(function, argument: str):
            # AutoGraph would rewrite the source of tf_keras, which takes several times as long as tracing.
            signature = tf.TensorSpec([None], tf.string, name=argument)
            return tf.function(function, input_signature=[signature], autograph=False).get_concrete_function()

        return {
            "serving_default": concrete(self.serving_default, "image_bytes"),
            "masks": concrete(self.masks, "image_bytes"),
            "from_examples": concrete(self.from_examples, "examples"),
            MASKS_FROM_EXAMPLES: concrete(self.masks_from_examples, "examples"),
            "transform_features": concrete(self.transform_features, "examples"),
        }


def export(
    model: keras.Model,
    transform_output: tft.TFTransformOutput,
    spec: FeatureSpec,
    folder: str,
    description: dict,
    flip_average: bool = False,
) -> None:
    """Writes the SavedModel, its description and its warm-up requests.

    Args:
      model: float32[N, H, W, 3] -> logits float32[N, H, W, C].
      transform_output: the transform graph.
      spec: classes and sizes; they go into the description too.
      folder: where to.
      description: further facts for `assets.extra/segpipe.json` (steps, net, seed).
      flip_average: whether each answer is the mean of those for the photo and its mirror image.
    """
    module = ExportedModel(model, transform_output, spec, flip_average)
    tf.saved_model.save(module, folder, signatures=module.signatures())
    path = os.path.join(folder, DESCRIPTION)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        colours = dict(zip(spec.class_names, spec.colours, strict=True))
        json.dump({"feature_spec": spec.model_dump(mode="json"), "colours": colours, **description}, file, indent=2)
    write_warmup_requests(folder, spec)
