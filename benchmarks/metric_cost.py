"""What the metrics cost a photo of 400x500 pixels and three classes, beside the forward pass of the default net.

taskset -c 1 .venv/bin/python benchmarks/metric_cost.py
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from glob import glob

import pipeline  # noqa: F401  It turns oneDNN on, as every run does; so it comes before TensorFlow.

import numpy as np  # isort: skip
import tensorflow as tf  # isort: skip
from PIL import Image  # isort: skip
from rich.console import Console  # isort: skip
from rich.table import Table  # isort: skip

from components.evaluator.settings import MetricSettings
from components.ingest.draw import draw_dataset
from trainer.boundary import boundary_f1
from trainer.confusion import confusion_matrix
from trainer.features import FeatureSpec
from trainer.model import build_model
from trainer.photo_size import photo_tallies, predicted_labels, true_labels
from trainer.preprocessing import shrink_labels
from trainer.settings import ModelSettings
from trainer.tally import half_widths

HEIGHT, WIDTH = 400, 500
SPEC, TOLERANCES = FeatureSpec(), MetricSettings().tolerances


def drawn_masks(count: int) -> list[bytes]:
    """PNG trimaps of drawn animals, enlarged to the size in question."""
    masks = []
    with tempfile.TemporaryDirectory() as folder:
        draw_dataset(folder, count)
        for path in sorted(glob(f"{folder}/annotations/trimaps/*.png")):
            buffer = io.BytesIO()
            Image.open(path).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(buffer, "PNG")
            masks.append(buffer.getvalue())
    return masks


def prediction(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32[H, W, 3]: probabilities that are as right as a middling net's, with ragged boundaries."""
    small = shrink_labels(tf.constant(labels), SPEC).numpy()
    logits = 2 * np.eye(3)[np.roll(small, (2, 3), axis=(0, 1))] + rng.normal(0, 0.7, [*small.shape, 3])
    return tf.nn.softmax(logits.astype(np.float32)).numpy()


def milliseconds(work: Callable, inputs: list, rounds: int) -> tuple[float, float]:
    """Median time of one call over all inputs and rounds after a first one: elapsed, and of processors.

    The first is what a user waits; the second tells the cost on a machine that others use too.
    """
    for arguments in inputs:
        work(*arguments)
    elapsed, used = [], []
    for _ in range(rounds):
        for arguments in inputs:
            start, start_used = time.perf_counter(), time.process_time()
            work(*arguments)
            used.append(time.process_time() - start_used)
            elapsed.append(time.perf_counter() - start)
    return 1000 * statistics.median(elapsed), 1000 * statistics.median(used)


def main(rounds: int) -> None:
    """Prints the table of medians."""
    rng = np.random.default_rng(17)
    masks = drawn_masks(32)
    truths = [true_labels(mask, SPEC) for mask in masks]
    probabilities = [prediction(labels, rng) for labels in truths]
    guesses = [predicted_labels(p, HEIGHT, WIDTH) for p in probabilities]
    smaller = [shrink_labels(tf.constant(labels), SPEC).numpy() for labels in truths]
    small_guesses = [p.argmax(axis=-1).astype(np.uint8) for p in probabilities]
    own, at_model_size = list(zip(truths, guesses, strict=True)), list(zip(smaller, small_guesses, strict=True))
    net = tf.function(build_model(ModelSettings(), SPEC.height, SPEC.width, SPEC.num_classes), jit_compile=False)
    pixels = tf.constant(rng.normal(size=[1, SPEC.height, SPEC.width, 3]).astype(np.float32))
    tallies = np.stack([photo_tallies(m, p, SPEC, TOLERANCES)[0] for m, p in zip(masks, probabilities, strict=True)])
    thousand = np.tile(tallies, [32, 1, 1])[:1000]

    parts = {
        "decode the mask": (lambda mask: true_labels(mask, SPEC), [(mask,) for mask in masks]),
        "resize the probabilities, take the largest": (
            lambda p: predicted_labels(p, HEIGHT, WIDTH),
            [(p,) for p in probabilities],
        ),
        "confusion matrix": (lambda *photo: confusion_matrix(*photo, 3), own),
        f"boundary F1 within {TOLERANCES[0]} pixels": (lambda *photo: boundary_f1(*photo, 3, TOLERANCES[0]), own),
        "shrink the mask": (lambda labels: shrink_labels(tf.constant(labels), SPEC), [(labels,) for labels in truths]),
        "confusion matrix at the model's size": (lambda *photo: confusion_matrix(*photo, 3), at_model_size),
        f"boundary F1 there within {TOLERANCES[1]}": (
            lambda *photo: boundary_f1(*photo, 3, TOLERANCES[1]),
            at_model_size,
        ),
        "all of a photo": (
            lambda mask, p: photo_tallies(mask, p, SPEC, TOLERANCES),
            list(zip(masks, probabilities, strict=True)),
        ),
        "scores' intervals of 1,000 photos": (lambda: half_widths(thousand, SPEC.class_names, 1), [()]),
        "forward pass of the default net, 96x128": (lambda: net(pixels), [()] * len(masks)),
    }
    table = Table(box=None, pad_edge=False)
    for column in ("part", "elapsed ms", "processor ms"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, (work, inputs) in parts.items():
        table.add_row(name, *(f"{value:.2f}" for value in milliseconds(work, inputs, rounds)))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
