"""Pretrained backbones: where their weights come from, what pixels they expect, and whether they can be had.

Imports no TensorFlow, so that a run which cannot have its weights is told before anything starts.
"""

import hashlib
import os
import urllib.request
from dataclasses import dataclass

from trainer.settings import IMAGENET, ModelSettings

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Backbone:
    """A net of `keras.applications`.

    Attributes:
      url: its ImageNet weights without the top, as Keras itself downloads them.
      skips: the layers whose outputs the decoder takes, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size. MobileNetV2's
        are those of TensorFlow's segmentation tutorial; EfficientNetV2's are the last at their size.
      scale, offset: what turns pixels in 0..1 into those that it was trained on.
    """

    url: str
    skips: tuple[str, ...]
    scale: float
    offset: float


# EfficientNetB0 (the first version) is not among them: Keras builds it with another input layer for ImageNet's weights
# than for the same weights in a file.
BACKBONES = {
    "MobileNetV2": Backbone(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        (
            "block_1_expand_relu",
            "block_3_expand_relu",
            "block_6_expand_relu",
            "block_13_expand_relu",
            "block_16_project",
        ),
        2.0,
        -1.0,
    ),
    "EfficientNetV2B0": Backbone(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b0_notop.h5",
        (
            "block1a_project_activation",
            "block2b_add",
            "block4a_expand_activation",
            "block6a_expand_activation",
            "top_activation",
        ),
        255.0,
        0.0,
    ),
}


def check_weights(model: ModelSettings) -> None:
    """Makes sure that the backbone's weights can be read, or downloaded, without loading them.

    Raises:
      ValueError: one sentence, if they cannot.
    """
    if model.weights_file is not None:
        _check_file(model.weights_file)
    elif model.weights == IMAGENET:
        _check_download(BACKBONES[model.backbone].url)


def _check_file(path: str) -> None:
    try:
        with open(path, "rb") as file:
            found = file.read(len(_HDF5_SIGNATURE))
    except OSError as error:
        raise ValueError(f"model.weights: {path}: {error.strerror}; name a file, imagenet or none") from error
    if found != _HDF5_SIGNATURE or not path.endswith(".h5"):
        raise ValueError(f"model.weights: {path} is no .h5 file of weights; save some with Keras' save_weights")


def _check_download(url: str) -> None:
    home = os.environ.get("KERAS_HOME", os.path.join(os.path.expanduser("~"), ".keras"))
    if os.path.exists(os.path.join(home, "models", os.path.basename(url))):
        return
    try:
        # S310: the address is one of Keras' own.
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()  # noqa: S310
    except OSError as error:
        raise ValueError(
            f"model.weights: imagenet cannot be had from {url} ({getattr(error, 'reason', error)}); "
            f"name a local .h5 file of the backbone's weights, or none for a random start"
        ) from error


def weights_digest(model: ModelSettings) -> str:
    """SHA-256 of the user's own file of weights, for TFX's cache; empty if there is none."""
    if model.weights_file is None:
        return ""
    digest = hashlib.sha256()
    with open(model.weights_file, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
