"""How many steps a warm start saves on a new span: from scratch against from the model of an older span.

.venv/bin/python benchmarks/warm_start.py                    # two drawn spans, a small net
.venv/bin/python benchmarks/warm_start.py DATA               # 300 trainval photos in two halves, a fifth held out

For each of three seeds a net is trained on span 1 and from its averaged weights on span 2, beside one from scratch on
span 2. Step k of both sees the same photos. Both are scored on the evaluation photos of span 2; DATA's test photos
take no part.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import pipeline  # noqa: F401  (it switches oneDNN on, before TensorFlow is imported)

# isort: split
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from components.ingest.draw import draw_dataset
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.ingest.spans import span_folder
from trainer.batches import count_examples, evaluation_batches, training_batches
from trainer.features import IMAGE, MASK, FeatureSpec
from trainer.loop import Learner
from trainer.preprocessing import preprocessing_fn
from trainer.settings import ModelSettings, TrainingSettings

SEEDS = (1, 2, 3)
_SHARES = (0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Setup:
    """Net, size and budget of a comparison; `every` steps a learning curve has a point."""

    spec: FeatureSpec
    model: ModelSettings
    steps: int
    every: int
    batch_size: int

    def training(self, seed: int, steps: int) -> TrainingSettings:
        evaluations = steps // self.every
        return TrainingSettings(steps=steps, batch_size=self.batch_size, evaluations=evaluations, seed=seed)


DRAWN = Setup(FeatureSpec(height=48, width=64), ModelSettings(filters=8), steps=400, every=10, batch_size=16)
REAL = Setup(FeatureSpec(height=96, width=128), ModelSettings(filters=16), steps=400, every=20, batch_size=16)


def drawn_spans(folder: str) -> Iterator[str]:
    """Datasets of 120 drawn photos; no two share one."""
    for span in (1, 2):
        dataset = os.path.join(folder, f"drawn-{span}")
        draw_dataset(dataset, 120, seed=span)
        yield dataset


def split_lists(data: str, folder: str) -> Iterator[str]:
    """Split lists of two spans from DATA's trainval photos: every fifth evaluates, the others train in turn."""
    with open(os.path.join(data, "annotations", "trainval.txt"), encoding="utf-8") as file:
        stems = sorted(line.split()[0] for line in file if line.strip() and not line.startswith("#"))
    held_out, rest = stems[::5], [stem for place, stem in enumerate(stems) if place % 5]
    for span in (1, 2):
        lists = os.path.join(folder, f"lists-{span}")
        os.makedirs(lists)
        for name, chosen in (("trainval.txt", rest[span - 1 :: 2]), ("test.txt", held_out)):
            with open(os.path.join(lists, name), "w", encoding="utf-8") as file:
                file.writelines(f"{stem}\n" for stem in chosen)
        yield lists


def transform(span: str, spec: FeatureSpec) -> None:
    """Writes beside each shard of a span what Transform would make of it."""
    custom_config = {"feature_spec": spec.model_dump_json()}
    features = {name: tf.io.FixedLenFeature([1], tf.string) for name in (IMAGE, MASK)}
    for shard in tf.io.gfile.glob(os.path.join(span, "*.tfrecord")):
        with tf.io.TFRecordWriter(shard.replace(".tfrecord", ".transformed")) as writer:
            for record in tf.data.TFRecordDataset(shard).batch(1):
                packed = preprocessing_fn(tf.io.parse_example(record, features), custom_config)
                values = {name: tf.train.BytesList(value=[value.numpy()[0, 0]]) for name, value in packed.items()}
                example = {name: tf.train.Feature(bytes_list=value) for name, value in values.items()}
                writer.write(tf.train.Example(features=tf.train.Features(feature=example)).SerializeToString())


def train(setup: Setup, span: str, training: TrainingSettings, base: list | None) -> tuple[Learner, list[dict]]:
    """Trains on one span, from scratch or from the weights of another net; returns the learner and its curve."""
    learner = Learner(setup.spec, setup.model, training)
    if base is not None:
        learner.start_from(base)
    files = [os.path.join(span, "train-*.transformed")]
    batches = iter(training_batches(files, count_examples(files), setup.spec, training, steps=training.steps))
    held_out = evaluation_batches([os.path.join(span, "eval-*.transformed")], setup.spec, 64)
    return learner, learner.fit(training.steps, batches, held_out, lambda step, point: None)


def first_step(curve: list[dict], target: float) -> float:
    """The first measured step whose mean IoU reaches the target; infinite if none does."""
    return next((point["step"] for point in curve if point["mean_iou"] >= target), float("inf"))


def compare(setup: Setup, spans: list[str], console: Console) -> None:
    """Trains for each seed and prints the medians."""
    reached = {(kind, share): [] for kind in ("scratch", "warm") for share in _SHARES}
    final = {kind: [] for kind in ("scratch", "warm", "short")}
    for seed in SEEDS:
        training, quarter = setup.training(seed, setup.steps), setup.training(seed, setup.steps // 4)
        older, _ = train(setup, spans[0], training, None)
        base = [variable.numpy() for variable in older.averaged.variables]
        curves = {
            "scratch": train(setup, spans[1], training, None)[1],
            "warm": train(setup, spans[1], training, base)[1],
            "short": train(setup, spans[1], quarter, base)[1],
        }
        for kind, curve in curves.items():
            final[kind].append(curve[-1]["mean_iou"])
        for kind, share in reached:
            reached[kind, share].append(first_step(curves[kind], share * final["scratch"][-1]))
        console.print(f"seed {seed}: " + ", ".join(f"{kind} {values[-1]:.3f}" for kind, values in final.items()))

    table = Table(title=f"Steps to equal mean IoU, median of {len(SEEDS)} seeds", title_justify="left", box=None)
    for column in ("mean IoU to reach", "from scratch", "warm start", "saved"):
        table.add_column(column, justify="right")
    for share in _SHARES:
        scratch, warm = (statistics.median(reached[kind, share]) for kind in ("scratch", "warm"))
        saved = f"{1 - warm / scratch:.0%}" if warm < float("inf") else "none"
        target = f"{share:.0%} of scratch's {statistics.median(final['scratch']):.3f}"
        table.add_row(target, f"{scratch:.0f}", f"{warm:.0f}" if saved != "none" else "not reached", saved)
    console.print(table)
    for kind, steps, what in (
        ("scratch", setup.steps, "from scratch"),
        ("warm", setup.steps, "warm start"),
        ("short", setup.steps // 4, "warm start"),
    ):
        console.print(f"mean IoU after a budget of {steps} steps {what}: {statistics.median(final[kind]):.3f}")


def main() -> None:
    """Ingests the two spans and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", metavar="DATA", help="folder in the layout of Oxford-IIIT Pets")
    options = parser.parse_args()
    setup = REAL if options.data else DRAWN
    console = Console(highlight=False, width=110)
    with tempfile.TemporaryDirectory() as folder:
        # Photos in neither list of a span are quarantined.
        settings = DataSettings(max_quarantine=1.0)
        if options.data:
            inputs = [(options.data, lists) for lists in split_lists(options.data, folder)]
        else:
            inputs = [(dataset, os.path.join(dataset, "annotations")) for dataset in drawn_spans(folder)]
        for number, (source, lists) in enumerate(inputs, start=1):
            masks = os.path.join(source, "annotations", "trimaps")
            ingest(folder, os.path.join(source, "images"), masks, setup.spec, settings, lists, number)
            transform(span_folder(folder, number), setup.spec)
        console.print(f"{setup.model.filters} filters, {setup.spec.height}x{setup.spec.width}")
        compare(setup, [span_folder(folder, number) for number in (1, 2)], console)


if __name__ == "__main__":
    main()
