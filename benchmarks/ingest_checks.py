"""What trusting a photo costs: photos a second of processor time on one core, with and without each check of ingest.

.venv/bin/python benchmarks/ingest_checks.py [--data FOLDER]

FOLDER has the Oxford-IIIT Pets layout; without it 240 photos are drawn. Decoding with TensorFlow is the comparison: it
is what ingest did before, and it takes damaged photos. Shards are written with photo after photo going through all of
ingest's stages, and with eight going through each before the next. The last lines compare the perceptual hashes of
60,000 photos (random ones) and count how near the hashes of different photos of the folder come.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image

from components.ingest import shards
from components.ingest.draw import draw_dataset
from components.ingest.duplicates import find_duplicates, perceptual_hash
from components.ingest.reader import read_pair, upright_jpeg
from components.ingest.settings import DataSettings
from components.ingest.sources import Pair
from components.ingest.spans import SourceFile
from trainer.features import FeatureSpec

ROUNDS = 5
SPEC, SETTINGS = FeatureSpec(), DataSettings()


def photos_a_second(work: Callable, inputs: list) -> float:
    """Median over the rounds, after a first one."""
    rates = []
    for _ in range(ROUNDS + 1):
        started = time.process_time()
        for one in inputs:
            work(one)
        rates.append(len(inputs) / (time.process_time() - started))
    return statistics.median(rates[1:])


def shards_a_second(files: list[Pair], photos: int) -> float:
    """Photos a second that are read by one thread and written into a shard, so many going through a stage at once."""
    before, shards.PHOTOS_AT_ONCE = shards.PHOTOS_AT_ONCE, photos
    writer = shards.ShardWriter(SPEC, SETTINGS.model_copy(update={"threads": 1}))
    with tempfile.TemporaryDirectory() as folder:
        plan = shards.ShardPlan("train", f"{folder}/shard.tfrecord", tuple(files))
        rate = photos_a_second(writer.write, [plan])
    shards.PHOTOS_AT_ONCE = before
    return rate * len(files)


def source(number: int, value: int) -> SourceFile:
    return SourceFile(
        photo=f"{number:05d}.jpg",
        mask=None,
        photo_sha256=str(number),
        mask_sha256=None,
        photo_bytes=0,
        mask_bytes=0,
        split=None,
        verdict="ingested",
        perceptual_hash=f"{value:016x}",
    )


def seconds_of_search(photos: int) -> float:
    """How long it takes to hold a fifth of so many photos against the others."""
    values = np.random.default_rng(0).integers(0, 2**63, photos).tolist()
    sources = [source(number, value) for number, value in enumerate(values)]
    started = time.process_time()
    find_duplicates(sources[: photos // 5], sources[photos // 5 :], SETTINGS.duplicate_distance)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder)
        if options.data is None:
            draw_dataset(folder, photos=240)
        pairs, files = [], []
        for path in sorted((data / "images").glob("*.jpg")):
            mask = data / "annotations" / "trimaps" / f"{path.stem}.png"
            if mask.is_file() and path.read_bytes()[:2] == b"\xff\xd8":
                pairs.append((path.read_bytes(), mask.read_bytes()))
                files.append(Pair(path.stem, str(path), str(mask), "train"))
        written = {photos: shards_a_second(files, photos) for photos in (1, shards.PHOTOS_AT_ONCE)}
    photos = [photo for photo, _ in pairs]
    pixels = (upright_jpeg(photo, SETTINGS.max_pixels)[1] for photo in photos)
    grey = [np.asarray(Image.fromarray(one).convert("L")) for one in pixels]
    print(f"{len(pairs)} JPEGs with their masks, median of {ROUNDS} rounds, photos a second of processor time")
    rows = {
        "decoded by TensorFlow, damage unseen": (lambda photo: tf.io.decode_jpeg(photo, channels=3).numpy(), photos),
        "decoded strictly": (lambda photo: simplejpeg.decode_jpeg(photo, strict=True), photos),
        "upright_jpeg: with all its checks": (lambda photo: upright_jpeg(photo, SETTINGS.max_pixels), photos),
        "perceptual hash of grey pixels": (perceptual_hash, grey),
        "read_pair: photo, mask, hash": (lambda pair: read_pair(*pair, SPEC, SETTINGS), pairs),
    }
    for name, (work, inputs) in rows.items():
        print(f"  {name:40s}{photos_a_second(work, inputs):8.0f}")
    for photos, rate in written.items():
        print(f"  {f'written into a shard, {photos} at once':40s}{rate:8.0f}")
    for count in (6_000, 60_000):
        print(f"duplicates among {count:,} photos: {seconds_of_search(count):.2f} s")
    values = [int(h, 16) for h in map(perceptual_hash, grey) if h]
    distances = np.bincount([bin(a ^ b).count("1") for a, b in combinations(values, 2)], minlength=65)
    near = ", ".join(f"{distances[bits]:,} at {bits}" for bits in np.flatnonzero(distances)[:6])
    print(f"bits between hashes of {distances.sum():,} pairs of photos, the nearest: {near}")


if __name__ == "__main__":
    main()
