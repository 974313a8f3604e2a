"""A pushed model as one file for other runtimes: TensorFlow Lite or ONNX.

The file takes pixels, not files: float32[N, H, W, 3] of RGB in 0..255 at the model's size, N = 1 in TensorFlow Lite.
Decoding, turning upright and resizing (each pixel the mean of its area) stay with the client; normalisation and the
average with the mirrored photo are inside. It gives `probabilities` float32[N, H, W, C] and `mask` uint8[N, H, W].
"""
