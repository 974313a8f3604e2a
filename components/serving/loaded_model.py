"""One version in memory, ready to answer."""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from components.inference.served_model import ServedModel
from components.pusher.versions import version_folder
from components.serving.request_error import RequestError
from trainer.warmup import WARMED, drawn_photo

DEFAULT_SIGNATURE = "serving_default"


class LoadedModel:
    """A version that has answered its warm-up.

    Attributes:
      version: its number.
      spec: classes and input size.
      description: everything in `assets.extra/segpipe.json`.
      signature_defs: name -> SignatureDef, as the SavedModel declares them.
    """

    def __init__(self, folder: str, version: int):
        """Loads `<folder>/<version>` and asks it about a drawn photo, so that no client waits for a graph to start.

        Raises:
          UsageError: if it is no model that segpipe exported, or a link brings it in.
          tf.errors.OpError: if it does not answer.
        """
        path = version_folder(folder, version)
        served = ServedModel(path)
        self.version, self.spec, self.description = version, served.spec, served.description
        self.signature_defs = _signature_defs(path)
        self._functions = served.signatures
        for name in WARMED:
            if name in self._functions:
                self.ask(name, {"image_bytes": [drawn_photo(self.spec)]})

    def inputs(self, signature: str) -> dict[str, meta_graph_pb2.TensorInfo]:
        """What a signature takes.

        Raises:
          RequestError: if there is none of that name.
        """
        if signature not in self._functions:
            known = ", ".join(sorted(self._functions))
            raise RequestError(
                400, f'Serving signature name: "{signature}" not found in signature def; there are {known}'
            )
        return dict(self.signature_defs[signature].inputs)

    def ask(self, signature: str, inputs: dict[str, list[bytes]]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature: one of `signature_defs`.
          inputs: a string vector for each of its inputs.

        Returns:
          Its outputs by name; strings come as an object array of bytes.

        Raises:
          RequestError: if the model refuses the inputs.
        """
        tensors = {name: tf.constant(values, tf.string, [len(values)]) for name, values in inputs.items()}
        try:
            outputs = self._functions[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, f"the model refuses the input: {str(error.message).splitlines()[0]}") from error
        return {name: value.numpy() for name, value in outputs.items()}


def _signature_defs(path: str) -> dict[str, meta_graph_pb2.SignatureDef]:
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    return dict(saved.meta_graphs[0].signature_def)
