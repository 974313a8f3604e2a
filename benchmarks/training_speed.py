"""Seconds a training step, beside what the step would take without an input pipeline and under Keras's `fit`.

.venv/bin/python benchmarks/training_speed.py WORKSPACE [--rounds N]

WORKSPACE has had a run of the default config, whose transformed examples are read. All rows train the default net on
batches of 32; they take turns, each round, and the figures are medians of a round's mean.

    Trainer                        reads, unpacks, shuffles, augments, steps, averages: what a run does
    not augmented                  the same without augmentation, which `fit` has not either
    the same step, one batch       the step alone, on a batch that is there: the difference is the input's share
    the same, oneDNN off           in a process of its own, with TensorFlow's default for this processor
    keras fit, arrays in memory    the same net and loss, no augmentation, no average, AdamW
    keras fit, its defaults        the same with Keras's own choice of XLA
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from glob import glob

import pipeline  # noqa: F401  (it switches oneDNN on, before TensorFlow is imported)

# isort: split
import keras
import numpy as np
import tensorflow as tf
from figures import Figure, report

from pipeline.config import Config
from pipeline.records import newest_run
from pipeline.workspace import Workspace
from trainer.batches import count_examples, evaluation_batches, training_batches
from trainer.loop import Learner
from trainer.losses import segmentation_loss
from trainer.model import build_model
from trainer.settings import AugmentSettings, TrainingSettings

STEPS = 10
# Of the training that the steps are taken from.
TOTAL_STEPS = 100_000
FIT = "keras fit, arrays in memory"
CONFIG = Config()
SPEC, TRAINING = CONFIG.features, CONFIG.training
PLAIN = TRAINING.model_copy(update={"augment": AugmentSettings(enabled=False)})


def train_files(workspace: str) -> list[str]:
    """The transformed training examples of the newest run."""
    examples = newest_run(Workspace.at(workspace).metadata).output("Transform", "transformed_examples")
    if examples is None or not glob(f"{examples.uri}/Split-train/*"):
        sys.exit(f"{workspace}: its newest run has no transformed examples; run segpipe run there first")
    return [f"{examples.uri}/Split-train/*"]


def steps_on(learner: Learner, batches: Iterator) -> Callable[[], None]:
    """Makes STEPS steps of the Trainer's loop, each on the next batch."""

    def work() -> None:
        for step in range(STEPS):
            # As `Learner.fit` does; a loss that is read would wait for the step.
            loss = learner._run_step(step, TOTAL_STEPS, next(batches))
        loss.numpy()

    return work


def trainer_steps(files: list[str], input_pipeline: bool, training: TrainingSettings = TRAINING) -> Callable[[], None]:
    """Makes STEPS steps of the Trainer's loop, on its batches or on one batch over and over."""
    batches = iter(training_batches(files, count_examples(files), SPEC, training, 0, TOTAL_STEPS))
    return steps_on(
        Learner(SPEC, CONFIG.model, training), batches if input_pipeline else itertools.repeat(next(batches))
    )


def keras_steps(files: list[str], jit: bool | str) -> Callable[[], None]:
    """Makes STEPS steps of `keras.Model.fit` on arrays."""
    pixels, labels = map(np.concatenate, zip(*evaluation_batches(files, SPEC, 32).as_numpy_iterator(), strict=True))
    count = STEPS * TRAINING.batch_size
    pixels, labels = np.resize(pixels, (count, *pixels.shape[1:])), np.resize(labels, (count, *labels.shape[1:]))
    net = build_model(CONFIG.model, SPEC.height, SPEC.width, SPEC.num_classes, SPEC.pixel_mean, SPEC.pixel_std)

    def loss(truth, scores):
        # Keras hands every target over as floats.
        return segmentation_loss(tf.cast(truth, tf.uint8), scores, TRAINING.dice_weight, None, TRAINING.focal_gamma)

    net.compile(keras.optimizers.AdamW(3e-3, TRAINING.weight_decay), loss, jit_compile=jit)
    return lambda: net.fit(pixels, labels, batch_size=TRAINING.batch_size, verbose=0)


def timed(work: Callable[[], None]) -> float:
    """Seconds a step."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / STEPS


def without_onednn(workspace: str) -> float:
    """Seconds a step on one batch in a process without oneDNN."""
    command = [sys.executable, __file__, workspace, "--rounds", "1", "--child"]
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figures", help="a file of JSON lines to append the rows to")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = train_files(options.workspace)
    if options.child:
        work = trainer_steps(files, input_pipeline=False)
        work()
        print(statistics.median(timed(work) for _ in range(3)))
        return
    works = {
        "Trainer": trainer_steps(files, input_pipeline=True),
        "not augmented": trainer_steps(files, True, PLAIN),
        "the same step, one batch": trainer_steps(files, input_pipeline=False),
        FIT: keras_steps(files, jit=False),
        "keras fit, its defaults": keras_steps(files, jit="auto"),
    }
    times: dict[str, list[float]] = {}
    for round_ in range(options.rounds + 1):
        for name, work in works.items():
            seconds = timed(work)
            if round_:
                times.setdefault(name, []).append(seconds)
        if round_:
            times.setdefault("the same step, oneDNN off", []).append(without_onednn(options.workspace))

    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    step, plain, fit = (medians[name] for name in ("Trainer", "not augmented", FIT))
    rows = [
        Figure("training step", f"{step:.3f} s", name, f"{other:.3f} s", step / other, "")
        for name, other in medians.items()
        if name != "Trainer"
    ]
    rows.append(Figure("training step, not augmented", f"{plain:.3f} s", FIT, f"{fit:.3f} s", plain / fit, "1.05"))
    report(f"the default net on batches of 32, {len(os.sched_getaffinity(0))} cores", rows, options.figures)


if __name__ == "__main__":
    main()
