"""What runs, in what order, where."""

import os

# TensorFlow 2.16 leaves oneDNN off on these CPUs; with it, training is 1.3 to 1.6 times faster. It must be set before
# TensorFlow is imported, and every entry point imports this package first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
