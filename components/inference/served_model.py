"""A SavedModel and its description, loaded for use on this machine.

model = ServedModel("workspace/serving_model/1700000000")
labels = model.labels([jpeg], [(389, 438)])[0]        # uint8[389, 438]
"""

import json
import os

import numpy as np
import tensorflow as tf

from components.errors import UsageError
from trainer.features import DESCRIPTION, FeatureSpec
from trainer.photo_size import predicted_labels


class ServedModel:
    """An exported model.

    Attributes:
      folder: where it lies.
      spec: its classes and input size.
      description: everything in `assets.extra/segpipe.json`.
      signatures: name -> function from tensors by name to tensors by name.
    """

    def __init__(self, folder: str):
        """Loads the model.

        Args:
          folder: of a SavedModel that segpipe exported.

        Raises:
          UsageError: if it is none.
        """
        self.folder = folder
        try:
            with open(os.path.join(folder, DESCRIPTION), encoding="utf-8") as file:
                self.description = json.load(file)
            self.spec = FeatureSpec.model_validate(self.description["feature_spec"])
            self._loaded = tf.saved_model.load(folder)
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"{folder}: is no model that segpipe exported; name a folder of a serving_model"
            ) from error
        self.signatures = self._loaded.signatures
        self._serve = self.signatures["serving_default"]

    def probabilities(self, photos: list[bytes]) -> np.ndarray:
        """Encoded upright photos -> float32[N, H, W, C] at the model's size."""
        return self._serve(image_bytes=tf.constant(photos))["probabilities"].numpy()

    @property
    def takes_pixels(self) -> bool:
        """Whether it has `from_pixels`; models of before do not."""
        return hasattr(self._loaded, "from_pixels")

    def from_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """float32[N, H, W, 3], RGB in 0..255 at the model's size -> probabilities float32[N, H, W, C]."""
        return self._loaded.from_pixels(tf.constant(pixels))["probabilities"].numpy()

    def labels(self, photos: list[bytes], sizes: list[tuple[int, int]]) -> list[np.ndarray]:
        """Labels of each photo at its own size.

        Args:
          photos: encoded, upright.
          sizes: height and width of each.

        Returns:
          uint8[height, width] per photo, 0..C-1.
        """
        found = self.probabilities(photos)
        return [predicted_labels(p, *size) for p, size in zip(found, sizes, strict=True)]
