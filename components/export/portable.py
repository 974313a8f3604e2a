"""Asks an exported file about a photo, the way a client elsewhere would: Pillow, NumPy and the format's own runtime."""

import io
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from components.export.convert import ONNX, TFLITE

Net = Callable[[np.ndarray], np.ndarray]
"""float32[1, H, W, 3], RGB in 0..255 -> probabilities float32[1, H, W, C]."""


def photo_pixels(photo: bytes, height: int, width: int) -> np.ndarray:
    """An encoded upright photo -> float32[1, height, width, 3], RGB in 0..255, each the mean of its area."""
    opened = Image.open(io.BytesIO(photo)).convert("RGB")
    return np.asarray(opened.resize((width, height), Image.Resampling.BOX), np.float32)[np.newaxis]


def open_net(path: str, kind: str) -> Net:
    """Opens an exported file with its runtime, on all cores.

    Args:
      path: the file.
      kind: `tflite` or `onnx`.
    """
    return {TFLITE: _open_tflite, ONNX: _open_onnx}[kind](path)


def _open_tflite(path: str) -> Net:
    import tensorflow as tf

    run = tf.lite.Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
    return lambda pixels: run(pixels=pixels)["probabilities"]


def _open_onnx(path: str) -> Net:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["probabilities"], {"pixels": pixels})[0]
