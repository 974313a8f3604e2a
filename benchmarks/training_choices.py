"""What each choice of the Trainer gives: milliseconds of training a photo, beside the default's in the same round.

.venv/bin/python benchmarks/training_choices.py WORKSPACE [--rounds N]

WORKSPACE has had a run of the default config, whose transformed examples are read. Each choice trains the default net
in a process of its own, on the Trainer's own batches; rounds go through all of them in turns, and the figures are
medians.

    oneDNN off            as TensorFlow has it by itself on many processors
    one thread            an operation is not spread over cores
    XLA                   clusters of operations are compiled
    bfloat16              oneDNN multiplies in half of the bits
    batches of N          instead of 32
    augmented by Python   the same changes, called operation by operation between the steps
    not augmented         what augmentation costs

Channels first is measured on one convolution and its gradients, since the net is written for channels last.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pipeline  # noqa: F401  (it switches oneDNN on, before TensorFlow is imported)

# isort: split
import tensorflow as tf
from figures import Figure, report
from training_speed import CONFIG, SPEC, STEPS, TOTAL_STEPS, TRAINING, steps_on, timed, train_files

from trainer.augment import augment
from trainer.batches import count_examples, training_batches
from trainer.loop import Learner
from trainer.settings import TrainingSettings

LAYOUTS = {"channels first": "NCHW", "channels last": "NHWC"}


@dataclass(frozen=True)
class Choice:
    """Environment of the process, changes of `training`, and whether Python calls the augmentation."""

    environment: dict[str, str] = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    by_python: bool = False


_PLAIN = {"augment": TRAINING.augment.model_copy(update={"enabled": False})}
DEFAULT = "default"
CHOICES = {
    DEFAULT: Choice(),
    "oneDNN off": Choice({"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "one thread": Choice({"TF_NUM_INTRAOP_THREADS": "1"}),
    "XLA": Choice({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"}),
    "bfloat16": Choice({"TF_SET_ONEDNN_FPMATH_MODE": "BF16"}),
    **{f"batches of {size}": Choice(training={"batch_size": size}) for size in (8, 16, 64)},
    "augmented by Python": Choice(training=_PLAIN, by_python=True),
    "not augmented": Choice(training=_PLAIN),
}


def _augmented(batches: Iterator, training: TrainingSettings) -> Iterator:
    for step, (pixels, labels) in enumerate(batches):
        yield augment(pixels, labels, tf.constant([training.seed, step]), TRAINING.augment, SPEC)


def steps_of(choice: Choice, files: list[str]) -> tuple[Callable[[], None], int]:
    """Makes STEPS steps of training; and how many photos each has."""
    training = TRAINING.model_copy(update=choice.training)
    batches = iter(training_batches(files, count_examples(files), SPEC, training, 0, TOTAL_STEPS))
    if choice.by_python:
        batches = _augmented(batches, training)
    return steps_on(Learner(SPEC, CONFIG.model, training), batches), training.batch_size


def convolution(layout: str) -> tuple[Callable[[], None], int]:
    """STEPS times a 3x3 convolution of 32 photos of 48x64 pixels and 32 channels, with its gradients."""
    shape = [32, 48, 64, 32] if layout == "NHWC" else [32, 32, 48, 64]
    pixels, kernel = tf.random.normal(shape), tf.random.normal([3, 3, 32, 32])

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([pixels, kernel])
            total = tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(pixels, kernel, 1, "SAME", data_format=layout)))
        return tape.gradient(total, [pixels, kernel])

    def work() -> None:
        for _ in range(STEPS):
            gradients = step()
        gradients[0].numpy()

    return work, shape[0]


def milliseconds(work: Callable[[], None], photos: int) -> float:
    """Of a photo: the median of three times STEPS, after a first time."""
    work()
    return 1000 * statistics.median(timed(work) for _ in range(3)) / photos


def in_a_process(workspace: str, name: str) -> float:
    """What `milliseconds` gives in a process that has the choice's environment."""
    environment = os.environ | (CHOICES[name].environment if name in CHOICES else {})
    command = [sys.executable, __file__, workspace, "--choice", name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--figures", help="a file of JSON lines to append the rows to")
    parser.add_argument("--choice", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.choice in LAYOUTS:
        print(milliseconds(*convolution(LAYOUTS[options.choice])))
        return
    files = train_files(options.workspace)
    if options.choice:
        print(milliseconds(*steps_of(CHOICES[options.choice], files)))
        return
    once = functools.partial(in_a_process, options.workspace)
    rounds = [{name: once(name) for name in (*CHOICES, *LAYOUTS)} for _ in range(options.rounds)]
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    pairs = [(name, DEFAULT) for name in CHOICES if name != DEFAULT] + [tuple(LAYOUTS)]
    rows = [
        Figure(
            "training a photo" if base == DEFAULT else "one convolution of a photo",
            f"{medians[base]:.2f} ms",
            name,
            f"{medians[name]:.2f} ms",
            medians[base] / medians[name],
            "",
        )
        for name, base in pairs
    ]
    report(f"the default's choices, {len(os.sched_getaffinity(0))} cores", rows, options.figures)


if __name__ == "__main__":
    main()
