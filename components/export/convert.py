"""Converts the net of a SavedModel in a process of its own: a converter that meets a graph it cannot take may abort.

    python -m components.export.convert MODEL tflite|onnx OUTPUT

TensorFlow 2.16's converter aborts on the variables of a Keras 3 model ("missing attribute 'value'"), so the weights
become constants before it sees the net. tf2onnx does the same by itself.
"""

import os
import signal
import subprocess
import sys
import tempfile

import tensorflow as tf

from components.errors import SegpipeError

TFLITE, ONNX = "tflite", "onnx"
FORMATS = (TFLITE, ONNX)
_OPSET = 17


def convert(model: str, kind: str, output: str) -> None:
    """Writes the net of a model.

    Args:
      model: folder of a SavedModel with `from_pixels`.
      kind: one of `FORMATS`.
      output: the file to write.

    Raises:
      SegpipeError: if the converter refuses or dies; it says what the converter said.
    """
    command = [sys.executable, "-m", "components.export.convert", model, kind, output]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing"]
        # TensorFlow 2.21 ends with a listing of the net; above it stands what does not convert.
        said = next((line for line in lines if line.startswith("TF Select ops:")), lines[-1]).strip()
        how = f"died of {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "refused"
        other = next(f for f in FORMATS if f != kind)
        raise SegpipeError(
            f"{model}: the {kind} converter {how} ({said}); try --format {other}, or train another model.name"
        )


def _net(model, photos: int | None):
    """`from_pixels` of a loaded SavedModel for a given number of photos, and its signature; None leaves it open."""
    (pixels,) = model.from_pixels.input_signature
    signature = [tf.TensorSpec([photos, *pixels.shape[1:]], pixels.dtype, name=pixels.name)]
    return tf.function(model.from_pixels, input_signature=signature), signature


def _to_tflite(model) -> bytes:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    net, signature = _net(model, photos=1)
    concrete = net.get_concrete_function()
    frozen, names = convert_variables_to_constants_v2(concrete), sorted(concrete.structured_outputs)
    named = tf.Module()
    named.answer = tf.function(lambda pixels: dict(zip(names, frozen(pixels), strict=True)), input_signature=signature)
    with tempfile.TemporaryDirectory(prefix="segpipe-export-") as folder:
        # By way of a SavedModel, since that is where the converter takes the names of input and outputs from.
        tf.saved_model.save(named, folder, signatures=named.answer)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def _to_onnx(model) -> bytes:
    import onnxruntime
    import tf2onnx

    net, signature = _net(model, photos=None)
    converted, _ = tf2onnx.convert.from_function(net, input_signature=signature, opset=_OPSET)
    content = converted.SerializeToString()
    # tf2onnx writes what it does not know as it is; the runtime then refuses the file.
    onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content


def main(model: str, kind: str, output: str) -> None:
    """Converts in this process."""
    content = {TFLITE: _to_tflite, ONNX: _to_onnx}[kind](tf.saved_model.load(model))
    with open(output, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main(*sys.argv[1:])
