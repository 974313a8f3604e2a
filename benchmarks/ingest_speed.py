"""Photos a second of ingest on one core, beside what must be done at least and beside what public examples do.

.venv/bin/python benchmarks/ingest_speed.py [--data FOLDER [--copies N]] [--rounds N] [--photos N] [--only-cores]

FOLDER has the Oxford-IIIT Pets layout; without it N photos (600) are drawn. All read the same files:

    bare loop        decodes each photo and each mask with TensorFlow, whose decoder does not see all damage
    strict loop      decodes each photo strictly, with libjpeg-turbo: the least that lets a photo be trusted
    segpipe ingest   the same check and every other one, hashes, examples, a manifest and a span on disk
    float script     TensorFlow decodes and resizes to 128x128, floats go into a TFRecord; damage is not seen
    all cores        segpipe ingest again, not held to one core

They take turns, each round; the figures are medians. Processor time is what to compare on a machine with other work;
for two cores only the elapsed time tells. With --only-cores, segpipe ingest on one core and on all of them alone.
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
from copies import named_anew, pairs_of
from figures import Figure, report

from components.ingest.draw import draw_dataset
from components.ingest.ingest import ingest
from pipeline.config import Config

SIZE = (128, 128)


def bare_loop(pairs: list[tuple[Path, Path]], folder: str) -> None:
    """Reads and decodes."""
    for photo, mask in pairs:
        tf.io.decode_jpeg(photo.read_bytes(), channels=3).numpy()
        tf.io.decode_png(mask.read_bytes(), channels=1).numpy()


def strict_loop(pairs: list[tuple[Path, Path]], folder: str) -> None:
    """Reads and decodes, and takes no warning."""
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


def segpipe_ingest(cores: set[int]) -> Callable[[list, str], None]:
    """`segpipe ingest` in this process, on these cores."""
    config = Config()
    # A photo of two names is a duplicate.
    settings = config.data.model_copy(update={"max_duplicates": 1.0})

    def work(pairs: list[tuple[Path, Path]], folder: str) -> None:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        photos, masks = (str(file.parent) for file in pairs[0])
        ingest(folder, photos, masks, config.features, settings)
        os.sched_setaffinity(0, before)

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
    parser.add_argument("--copies", type=int, default=1, help="under how many names each photo stands")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=600, help="how many to draw")
    parser.add_argument("--only-cores", action="store_true", help="only one core beside all of them")
    parser.add_argument("--figures", help="a file of JSON lines to append the rows to")
    options = parser.parse_args()
    # TensorFlow's threads are made before they can be told where to run.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "drawn"
        if options.data is None:
            draw_dataset(str(data), photos=options.photos)
        found = pairs_of(data)
        pairs = named_anew(found, Path(folder) / "named", options.copies * len(found))
        works = {
            "bare loop": bare_loop,
            "strict loop": strict_loop,
            "segpipe ingest": segpipe_ingest({min(cores)}),
            "float script": float_script,
            "all cores": segpipe_ingest(cores),
        }
        if options.only_cores:
            works = {name: works[name] for name in ("segpipe ingest", "all cores")}
        results: dict[str, list] = {name: [] for name in works}
        for round_ in range(options.rounds + 1):
            for name, work in works.items():
                figures = measure(work, pairs)
                if round_:
                    results[name].append(figures)
    medians = {name: [statistics.median(c) for c in zip(*rows, strict=True)] for name, rows in results.items()}
    for name, (used, elapsed, written) in medians.items():
        size = f"{written / len(pairs):,.0f} bytes a photo"
        print(f"{name:15} {used:5.0f} photos/s of processor time, {elapsed:5.0f} elapsed, {size}")
    title = f"{len(pairs)} photos with masks; photos/s of processor time, for all cores elapsed"
    report(title, rows(medians, len(cores)), options.figures)


def rows(medians: dict[str, list[float]], cores: int) -> list[Figure]:
    """The table's rows."""
    one, all_ = (medians[name][1] for name in ("segpipe ingest", "all cores"))
    on_all = Figure(f"ingest, {cores} cores", f"{all_:.0f}/s", "one core", f"{one:.0f}/s", all_ / one, "1.7")
    used = {name: figures[0] for name, figures in medians.items()}
    if "strict loop" not in used:
        return [on_all]
    goals = {"bare loop": "", "strict loop": "0.8", "float script": "1"}
    whole = used["segpipe ingest"]
    compared = (
        Figure("ingest", f"{whole:.0f}/s", name, f"{used[name]:.0f}/s", whole / used[name], goal)
        for name, goal in goals.items()
    )
    return [*compared, on_all]


if __name__ == "__main__":
    main()
