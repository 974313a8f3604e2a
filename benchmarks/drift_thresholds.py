"""How far apart two spans of one kind of photos are by TFDV's drift distance, and how far after a real change.

    .venv/bin/python benchmarks/drift_thresholds.py [--data FOLDER]

Draws datasets of several seeds (and, with --data, reads a folder of the Pets layout), measures brightness, size and
class shares of each photo as ingest does, then takes pairs of spans of 30 to 150 photos: drawn ones of different seeds,
real ones as disjoint random samples. The thresholds in schema/schema.pbtxt should lie above what such pairs show and
under what a change shows: photos at 60 % of their light, or lighter by a fifth; half as large; pets a fifth as large;
contours twice as thick. Takes about three minutes on one core.
"""

import argparse
import os
import tempfile

import numpy as np
from google.protobuf import text_format
from rich.console import Console
from rich.table import Table
from tensorflow_metadata.proto.v0 import schema_pb2

from components.anomaly_gate.drift import distance_between
from components.ingest.draw import draw_dataset
from components.ingest.opening import Unreadable
from components.ingest.reader import read_pair
from components.ingest.settings import DataSettings
from schema import SCHEMA_FILE
from trainer.features import BRIGHTNESS, CLASS_SHARE, HEIGHT, WIDTH, FeatureSpec

SIZES = (30, 50, 70, 150)
SEEDS = (17, 18, 19, 20)
PET, BACKGROUND, CONTOUR = (CLASS_SHARE + name for name in ("pet", "background", "contour"))

Columns = dict[str, np.ndarray]


def read_columns(folder: str) -> Columns:
    """Drift feature -> its value for each photo of a folder in the Pets layout."""
    spec, settings, rows = FeatureSpec(), DataSettings(), []
    trimaps = os.path.join(folder, "annotations", "trimaps")
    for name in sorted(os.listdir(trimaps)):
        photo = os.path.join(folder, "images", os.path.splitext(name)[0] + ".jpg")
        try:
            with open(photo, "rb") as image, open(os.path.join(trimaps, name), "rb") as mask:
                read = read_pair(image.read(), mask.read(), spec, settings)
        except (OSError, Unreadable):
            continue
        shares = dict(zip((CLASS_SHARE + name for name in spec.class_names), read.class_shares, strict=True))
        rows.append({BRIGHTNESS: read.brightness, HEIGHT: read.height, WIDTH: read.width} | shares)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def sample(columns: Columns, photos: np.ndarray) -> Columns:
    return {name: values[photos] for name, values in columns.items()}


def same_kind(pools: list[Columns], size: int, pairs: int, rng: np.random.Generator) -> list[tuple[Columns, Columns]]:
    """Pairs of spans of one kind: from two pools, or, where there is one, without a photo in common."""
    found = []
    for _ in range(pairs):
        if len(pools) == 1:
            order = rng.permutation(len(pools[0][BRIGHTNESS]))
            found.append((sample(pools[0], order[:size]), sample(pools[0], order[size : 2 * size])))
        else:
            first, second = rng.choice(len(pools), 2, replace=False)
            draw = [rng.permutation(len(pools[pool][BRIGHTNESS]))[:size] for pool in (first, second)]
            found.append((sample(pools[first], draw[0]), sample(pools[second], draw[1])))
    return found


def _pets_a_fifth(columns: Columns) -> Columns:
    smaller = {name: 0.2 * columns[name] for name in (PET, CONTOUR)}
    return columns | smaller | {BACKGROUND: 1 - smaller[PET] - smaller[CONTOUR]}


def _contours_twice(columns: Columns) -> Columns:
    contour = np.minimum(2 * columns[CONTOUR], 1 - 0.01)
    return columns | {CONTOUR: contour, BACKGROUND: np.maximum(1 - columns[PET] - contour, 0)}


CHANGES = {
    "60 % of the light": (BRIGHTNESS, lambda columns: columns | {BRIGHTNESS: 0.6 * columns[BRIGHTNESS]}),
    "lighter by a fifth": (
        BRIGHTNESS,
        lambda columns: columns | {BRIGHTNESS: np.minimum(columns[BRIGHTNESS] + 0.2, 1)},
    ),
    "half as high": (HEIGHT, lambda columns: columns | {HEIGHT: columns[HEIGHT] // 2}),
    "half as wide": (WIDTH, lambda columns: columns | {WIDTH: columns[WIDTH] // 2}),
    "pets a fifth as large": (PET, _pets_a_fifth),
    "their background": (BACKGROUND, _pets_a_fifth),
    "their contours": (CONTOUR, _pets_a_fifth),
    "contours twice as thick": (CONTOUR, _contours_twice),
}


def comparators() -> dict[str, schema_pb2.Feature]:
    """The features of the curated schema that are compared."""
    with open(SCHEMA_FILE, encoding="utf-8") as file:
        schema = text_format.Parse(file.read(), schema_pb2.Schema())
    return {feature.name: feature for feature in schema.feature if feature.HasField("drift_comparator")}


def _cell(feature: schema_pb2.Feature, pairs: list[tuple[np.ndarray, np.ndarray]], first, second) -> str:
    """Two figures of the distances of pairs, and the share of pairs that the schema's threshold stops."""
    found = [distance_between(feature, here, there) for here, there in pairs]
    stopped = np.mean([distance > feature.drift_comparator.jensen_shannon_divergence.threshold for distance in found])
    return f"{first(found):.2f} {second(found):.2f} {stopped:4.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="real photos, in the layout of Oxford-IIIT Pets")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of spans per row")
    arguments = parser.parse_args()
    compared, rng, sources = comparators(), np.random.default_rng(4), {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            draw_dataset(os.path.join(folder, str(seed)), max(SIZES), seed)
        sources["drawn"] = [read_columns(os.path.join(folder, str(seed))) for seed in SEEDS]
    if arguments.data:
        sources["real"] = [read_columns(arguments.data)]
    same = Table("photos", "a span", *compared, title="spans of one kind: median, largest, stopped", box=None)
    changed = Table("photos", "a span", *CHANGES, title="after a change: smallest, median, stopped", box=None)
    for source, pools in sources.items():
        for size in SIZES:
            pairs = same_kind(pools, size, arguments.pairs, rng)
            cells = [_cell(compared[n], [(h[n], t[n]) for h, t in pairs], np.median, np.max) for n in compared]
            same.add_row(source, str(size), *cells)
            cells = [
                _cell(compared[name], [(change(here)[name], there[name]) for here, there in pairs], np.min, np.median)
                for name, change in CHANGES.values()
            ]
            changed.add_row(source, str(size), *cells)
    console = Console(width=200)
    console.print(same, changed)
    for name, feature in compared.items():
        console.print(f"{name}: {text_format.MessageToString(feature.drift_comparator, as_one_line=True)}")


if __name__ == "__main__":
    main()
