"""Photos a second of the stages of a run beside the bare work on the same photos; bytes and reading rates of examples.

.venv/bin/python benchmarks/stage_speed.py [--photos N] [--data FOLDER] [--workspace DIR]

Takes N photos (6,000), those of FOLDER under as many names or drawn ones, ingests them and runs the pipeline with a
short training, then reads the seconds of its nodes from the records. Many of them are the same for any number of
photos, so the whole is run on an eighth of them, too, which tells the price of a further one. The comparisons follow in
this process:

    decode + resize      TensorFlow decodes each photo once and averages it to 96x128; with masks: each mask, too
    forward pass         the default net on batches of 32, both ways round, as the exported model averages them
    bare comparison      the exported model asked batch by batch, and each answer held against its mask, without Beam
    float lists          a TFRecord of float32 pixels and labels as public examples write, read into batches
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from glob import glob
from pathlib import Path

import pipeline  # noqa: F401  (it switches oneDNN on, before TensorFlow is imported)

# isort: split
import tensorflow as tf
import yaml
from copies import named_anew, pairs_of
from figures import Figure, raw_bytes, report
from tfx.utils import path_utils

from components.evaluator.eval_config import SIGNATURE
from components.ingest.spans import Manifest, list_spans, read_manifest, span_folder
from pipeline.config import Config
from pipeline.records import newest_run
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace
from trainer.batches import evaluation_batches
from trainer.features import LABELS, MASK, PIXELS
from trainer.model import build_model
from trainer.photo_size import photo_tallies
from trainer.preprocessing import resized_labels, resized_photos, unpack_labels, unpack_pixels

CONFIG = Config()
SPEC = CONFIG.features
BATCH = 32
# A training that is over at once, and a gate that lets its model be pushed.
SHORT = {
    "training": {"steps": 20, "evaluations": 1},
    "gate": {"min_mean_iou": 0.0, "min_class_iou": 0.0, "max_drop": 1.0},
}
# A photo of two names is a duplicate, and a few of a folder's may be damaged.
LENIENT = {"data": {"max_duplicates": 1.0, "max_quarantine": 1.0}}


def run_pipeline(root: str, photos: int, data: Path | None) -> tuple[RunRecord, Manifest]:
    """Draws or links photos, ingests and runs; gives the records of the run and of what it had."""
    segpipe = os.path.join(os.path.dirname(sys.executable), "segpipe")
    taken, config, workspace = f"{root}/photos", f"{root}/config.yaml", f"{root}/workspace"
    with open(config, "w", encoding="utf-8") as file:
        yaml.safe_dump(SHORT | LENIENT, file)
    if data is None:
        subprocess.run([segpipe, "draw", "--output", taken, "--photos", str(photos)], check=True)
    else:
        named_anew(pairs_of(data), Path(taken), photos)
    folders = ["--images", f"{taken}/images", "--masks", f"{taken}/annotations/trimaps"]
    place = ["--workspace", workspace, "--config", config]
    for command in (["ingest", *folders, *place], ["run", *place]):
        subprocess.run([segpipe, *command], check=True)
    spans = Workspace.at(workspace).data
    return newest_run(Workspace.at(workspace).metadata), read_manifest(spans, list_spans(spans)[-1])


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bare_preparation(taken: str, pairs: list[tuple[str, str]], masks: bool) -> float:
    """Photos a second of one decode and one resize of each."""
    photo = tf.function(lambda encoded: resized_photos(encoded[tf.newaxis], SPEC))
    mask = tf.function(lambda encoded: resized_labels(encoded[tf.newaxis], SPEC))

    def work() -> None:
        for one, other in pairs:
            photo(tf.io.read_file(f"{taken}/images/{one}"))
            if masks:
                mask(tf.io.read_file(f"{taken}/annotations/trimaps/{other}"))

    return len(pairs) / seconds(work)


def forward_passes(photos: int) -> float:
    """Milliseconds a photo of the net alone."""
    net = build_model(CONFIG.model, SPEC.height, SPEC.width, SPEC.num_classes)
    both = tf.function(lambda x: net(x, training=False) + net(x[:, :, ::-1], training=False)[:, :, ::-1])
    batch = tf.random.normal([BATCH, SPEC.height, SPEC.width, 3])
    both(batch)
    steps = -(-photos // BATCH)
    return 1000 * seconds(lambda: [both(batch) for _ in range(steps)]) / (steps * BATCH)


def bare_comparison(model: str, examples: list[str]) -> float:
    """Milliseconds a photo of raw examples asked and compared as an evaluation does it."""
    asked = tf.saved_model.load(model).signatures[SIGNATURE]
    (name,), tolerances = asked.structured_input_signature[1], CONFIG.metrics.tolerances
    masks = {MASK: tf.io.FixedLenFeature([], tf.string)}

    def work() -> int:
        count = 0
        for batch in tf.data.TFRecordDataset(examples).batch(BATCH):
            probabilities = asked(**{name: batch})["probabilities"].numpy()
            for mask, one in zip(tf.io.parse_example(batch, masks)[MASK].numpy(), probabilities, strict=True):
                photo_tallies(mask, one, SPEC, tolerances)
                count += 1
        return count

    count = work()
    return 1000 * seconds(work) / count


def reading_rate(batches: tf.data.Dataset) -> float:
    """Examples a second of the second reading of batches (pixels, labels)."""
    # For all alike; see `trainer.batches`.
    options = tf.data.Options()
    options.autotune.enabled = False
    batches = batches.with_options(options)

    def work() -> int:
        return sum(int(tf.shape(pixels)[0]) for pixels, _ in batches)

    count = work()
    return count / seconds(work)


def float_batches(files: list[str], folder: str, examples: int = 1000) -> tf.data.Dataset:
    """Batches of the same pixels and labels, kept as lists of floats."""
    path = f"{folder}/floats.tfrecord"
    with tf.io.TFRecordWriter(path) as writer:
        for pixels, labels in evaluation_batches(files, SPEC, 1).take(examples):
            lists = {"pixels": pixels.numpy().ravel(), "labels": labels.numpy().astype("float32").ravel()}
            feature = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=values)) for name, values in lists.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    size = SPEC.height * SPEC.width
    shapes = {
        "pixels": tf.io.FixedLenFeature([size * 3], tf.float32),
        "labels": tf.io.FixedLenFeature([size], tf.float32),
    }
    parsed = tf.data.TFRecordDataset(path).batch(BATCH).map(lambda s: tf.io.parse_example(s, shapes))
    return parsed.map(lambda batch: (batch["pixels"], batch["labels"])).prefetch(2)


def gzip_batches(files: list[str], folder: str, examples: int = 1000) -> tf.data.Dataset:
    """Batches of the same records, compressed as TFX would."""
    path = f"{folder}/examples.gz"
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for record in tf.data.TFRecordDataset(glob(files[0])).take(examples).as_numpy_iterator():
            writer.write(record)
    packed = {name: tf.io.FixedLenFeature([1], tf.string) for name in (PIXELS, LABELS)}
    parsed = tf.data.TFRecordDataset(path, "GZIP").batch(BATCH).map(lambda s: tf.io.parse_example(s, packed))
    return parsed.map(lambda batch: (unpack_pixels(batch[PIXELS], SPEC), unpack_labels(batch[LABELS], SPEC))).prefetch(
        2
    )


def stages(root: str, photos: int, data: Path | None) -> list[Figure]:
    """Runs everything."""
    os.makedirs(f"{root}/few", exist_ok=True)
    few, fewer = run_pipeline(f"{root}/few", photos // 8, data)
    run, manifest = run_pipeline(root, photos, data)
    workspace = Workspace.at(f"{root}/workspace")
    evaluated = run.summary["metrics"]["photos"]
    nodes = {name: run.nodes[name].seconds for name in ("StatisticsGen", "Transform", "SegmentationEvaluator")}
    before, after = (r.nodes["StatisticsGen"].seconds + r.nodes["Transform"].seconds for r in (few, run))
    prepared, one_more = manifest.ingested / after, (manifest.ingested - fewer.ingested) / (after - before)
    print({name: round(value, 1) for name, value in nodes.items()})
    ingested = [(s.photo, s.mask) for s in manifest.sources if s.verdict == "ingested"]
    bare, pairs = (bare_preparation(f"{root}/photos", ingested, masks) for masks in (False, True))
    evaluation, forward = 1000 * nodes["SegmentationEvaluator"] / evaluated, forward_passes(int(evaluated))
    model = path_utils.serving_model_path(run.output("Trainer", "model").uri)
    compared = bare_comparison(model, glob(f"{span_folder(workspace.data, manifest.span)}/eval-*.tfrecord"))
    more = evaluated - few.summary["metrics"]["photos"]
    further = 1000 * (nodes["SegmentationEvaluator"] - few.nodes["SegmentationEvaluator"].seconds) / more
    print(f"evaluation: {nodes['SegmentationEvaluator'] - evaluated * further / 1000:.1f} s whatever the photos")
    transformed = run.output("Transform", "transformed_examples").uri
    train = [f"{transformed}/Split-train/*"]
    stored = sum(map(os.path.getsize, glob(f"{transformed}/Split-*/*"))) / manifest.ingested
    raw, files = raw_bytes(workspace.data)
    kinds = evaluation_batches(train, SPEC, BATCH), float_batches(train, root), gzip_batches(train, root)
    rate, floats, zipped = map(reading_rate, kinds)
    row, size = "StatisticsGen + Transform", SPEC.height * SPEC.width
    return [
        Figure(row, f"{prepared:.0f} photos/s", "decode + resize", f"{bare:.0f} photos/s", prepared / bare, "0.5"),
        Figure(row, f"{prepared:.0f} photos/s", "the same with masks", f"{pairs:.0f} photos/s", prepared / pairs, ""),
        Figure("each further photo", f"{one_more:.0f}/s", "decode + resize", f"{bare:.0f}/s", one_more / bare, "0.5"),
        Figure("evaluation", f"{evaluation:.1f} ms", "forward pass", f"{forward:.1f} ms", evaluation / forward, "2"),
        Figure("each further photo", f"{further:.1f} ms", "forward pass", f"{forward:.1f} ms", further / forward, ""),
        Figure("the same", f"{further:.1f} ms", "bare comparison", f"{compared:.1f} ms", further / compared, ""),
        Figure("raw example", f"{raw:,.0f} bytes", "its files", f"{files:,.0f} bytes", raw / files, "1.03"),
        Figure("transformed example", f"{stored:,.0f} bytes", "its pixels", f"{size:,}", stored / size, "7.2"),
        Figure("the same", f"{stored:,.0f} bytes", "float lists", f"{size * 16:,} bytes", stored / size / 16, ""),
        Figure("reading them", f"{rate:,.0f}/s", "float lists", f"{floats:,.0f}/s", rate / floats, "8,000/s"),
        Figure("reading them", f"{rate:,.0f}/s", "compressed by gzip", f"{zipped:,.0f}/s", rate / zipped, ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=6000)
    parser.add_argument("--data", type=Path, help="folder with images/ and annotations/; drawn photos if left out")
    parser.add_argument("--workspace", help="where to draw and run; a temporary folder if left out")
    parser.add_argument("--figures", help="a file of JSON lines to append the rows to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = stages(options.workspace or folder, options.photos, options.data)
    report(
        f"{options.photos} {'real' if options.data else 'drawn'} photos, {len(os.sched_getaffinity(0))} cores",
        figures,
        options.figures,
    )


if __name__ == "__main__":
    main()
