"""Photos a second of ingest on one core, beside what must be done at least and beside what public examples do.

.venv/bin/python benchmarks/ingest_speed.py [--data FOLDER] [--rounds N]

FOLDER has the Oxford-IIIT Pets layout; without it 600 photos are drawn. All three read the same files:

    bare loop        decodes each photo strictly and each mask, and keeps nothing: no photo can be trusted for less
    segpipe ingest   the same and every other check, hashes, examples, a manifest and a span on disk
    float script     TensorFlow decodes and resizes to 128x128, floats go into a TFRecord; damage is not seen

They take turns, each round; the figures are medians. Processor time is what to compare on a machine with other work.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import simplejpeg
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from components.ingest.draw import draw_dataset
from components.ingest.ingest import ingest
from pipeline.config import Config

SIZE = (128, 128)


def bare_loop(pairs: list[tuple[Path, Path]], folder: str) -> None:
    """Reads and decodes."""
    for photo, mask in pairs:
        simplejpeg.decode_jpeg(photo.read_bytes(), strict=True)
        tf.io.decode_png(mask.read_bytes(), channels=1).numpy()


def float_script(pairs: list[tuple[Path, Path]], folder: str) -> None:
    """Resized float features in one TFRecord."""
    with tf.io.TFRecordWriter(f"{folder}/floats.tfrecord") as writer:
        for photo, mask in pairs:
            pixels = tf.image.resize(tf.io.decode_jpeg(photo.read_bytes(), channels=3), SIZE) / 255.0
            labels = tf.image.resize(tf.io.decode_png(mask.read_bytes(), channels=1), SIZE)
            features = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=values.numpy().ravel()))
                for name, values in (("image", pixels), ("label", labels))
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def segpipe_ingest(data: Path, listed: bool) -> Callable[[list, str], None]:
    """`segpipe ingest` in this process."""
    config = Config()
    masks = data / "annotations" / "trimaps"

    def work(pairs: list[tuple[Path, Path]], folder: str) -> None:
        lists = str(data / "annotations") if listed else None
        ingest(folder, str(data / "images"), str(masks), config.features, config.data, lists, None, config.beam_args)

    return work


def measure(work: Callable[[list, str], None], pairs: list[tuple[Path, Path]]) -> tuple[float, float, int]:
    """Photos a second of processor time and of elapsed time, and bytes written."""
    with tempfile.TemporaryDirectory() as folder:
        used, started = time.process_time(), time.perf_counter()
        work(pairs, folder)
        used, elapsed = time.process_time() - used, time.perf_counter() - started
        written = sum(path.stat().st_size for path in Path(folder).rglob("*.tfrecord"))
    return len(pairs) / used, len(pairs) / elapsed, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    # TensorFlow's threads are made before they can be told where to run.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder)
        if options.data is None:
            draw_dataset(folder, photos=600)
        masks = data / "annotations" / "trimaps"
        candidates = [(photo, masks / f"{photo.stem}.png") for photo in sorted(data.glob("images/*.jpg"))]
        pairs = [(p, m) for p, m in candidates if m.is_file() and p.read_bytes()[:2] == b"\xff\xd8"]
        works = {
            "bare loop": bare_loop,
            "segpipe ingest": segpipe_ingest(data, (data / "annotations" / "trainval.txt").is_file()),
            "float script": float_script,
        }
        results: dict[str, list] = {name: [] for name in works}
        for round_ in range(options.rounds + 1):
            for name, work in works.items():
                figures = measure(work, pairs)
                if round_:
                    results[name].append(figures)

    table = Table(box=None, pad_edge=False, title=f"{len(pairs)} photos with masks, one core", title_justify="left")
    for column in ("what", "photos/s of processor time", "of the bare loop's", "photos/s elapsed", "bytes a photo"):
        table.add_column(column, justify="left" if column == "what" else "right")
    base = statistics.median(used for used, _, _ in results["bare loop"])
    for name, figures in results.items():
        used, elapsed, written = (statistics.median(column) for column in zip(*figures, strict=True))
        row = (f"{used:.0f}", f"{used / base:.2f}", f"{elapsed:.0f}", f"{written / len(pairs):,.0f}")
        table.add_row(name, *row)
    Console(highlight=False, width=110).print(table)


if __name__ == "__main__":
    main()
