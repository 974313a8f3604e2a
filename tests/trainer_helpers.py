"""Drawn photos and masks, a transform graph made from them, and scores computed the long way round."""

import functools
import io
import math
import os
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from PIL import Image
from scipy import stats
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio

from trainer.features import IGNORE_LABEL, IMAGE, MASK, ClassSpec, FeatureSpec
from trainer.preprocessing import preprocessing_fn

SPEC = FeatureSpec(
    classes=(
        ClassSpec(name="pet", values=(1, 4)),
        ClassSpec(name="background", values=(2,)),
        ClassSpec(name="contour", values=(3,)),
    ),
    ignore_values=(255,),
    height=32,
    width=48,
)
"""Small, with a many-to-one class and an ignore value, so that both take part wherever it is used."""


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """uint8[h, w] or uint8[h, w, 3 or 4] as the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def draw_mask(rng: np.random.Generator, height: int, width: int, values: list[int], block: int = 5) -> np.ndarray:
    """uint8[height, width] of blocks with random values."""
    coarse = rng.choice(np.array(values, np.uint8), size=(-(-height // block), -(-width // block)))
    return coarse.repeat(block, 0).repeat(block, 1)[:height, :width]


def draw_photo(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """uint8[h, w, 3]: a colour for each mask value, and noise."""
    colours = np.random.default_rng(3).integers(40, 216, size=(256, 3))
    return np.clip(colours[mask] + rng.normal(0, 12, mask.shape + (3,)), 0, 255).astype(np.uint8)


def serialise(**features: bytes) -> bytes:
    """A tf.train.Example of one byte string a feature."""
    lists = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()


@dataclass(frozen=True)
class Transformed:
    """What Transform leaves for the Trainer, and what it was made from.

    Attributes:
      photos, masks: encoded, in the order of the records.
      raw: serialised raw examples.
      pattern: glob of the TFRecords of packed examples.
      graph: folder of the transform graph.
    """

    photos: list[bytes]
    masks: list[bytes]
    raw: list[bytes]
    pattern: str
    graph: str


def transform(folder: str, photos: list[bytes], masks: list[bytes], spec: FeatureSpec) -> Transformed:
    """Runs TensorFlow Transform as TFX does: serialised examples in, record batches out, in one process."""
    raw = [serialise(**{IMAGE: photo, MASK: mask}) for photo, mask in zip(photos, masks, strict=True)]
    schema = schema_utils.schema_from_feature_spec({n: tf.io.FixedLenFeature([1], tf.string) for n in (IMAGE, MASK)})
    source = tfxio.TFExampleBeamRecord(physical_format="memory", schema=schema, telemetry_descriptors=["test"])
    function = functools.partial(preprocessing_fn, custom_config={"feature_spec": spec.model_dump_json()})
    result = Transformed(photos, masks, raw, os.path.join(folder, "examples*.tfrecord"), os.path.join(folder, "graph"))
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=os.path.join(folder, "temp")):
        batches = pipeline | beam.Create(raw, reshuffle=False) | source.BeamSource()
        (data, _), graph = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeAndTransformDataset(
            function, output_record_batches=True
        )
        _ = (
            data
            | beam.FlatMapTuple(lambda batch, _: RecordBatchToExamplesEncoder().encode(batch))
            | beam.io.WriteToTFRecord(os.path.join(folder, "examples"), file_name_suffix=".tfrecord", num_shards=1)
        )
        _ = graph | tft_beam.WriteTransformFn(result.graph)
        _ = dataset_metadata.DatasetMetadata(schema) | tft_beam.WriteMetadata(
            os.path.join(result.graph, "metadata"), pipeline
        )
    return result


def pixel_scores(truth: np.ndarray, guess: np.ndarray, names: list[str], background: int) -> dict[str, float]:
    """Every score, counted from sets of pixels and not from a confusion matrix."""
    counted = truth != IGNORE_LABEL
    truth, guess = truth[counted], guess[counted]

    def share(part: int, whole: int) -> float:
        return part / whole if whole else math.nan

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        return share(int((a & b).sum()), int((a | b).sum()))

    result = {"pixel_accuracy": share(int((truth == guess).sum()), truth.size)}
    for label, name in enumerate(names):
        a, b = truth == label, guess == label
        result[f"iou/{name}"] = iou(a, b)
        result[f"dice/{name}"] = share(2 * int((a & b).sum()), int(a.sum()) + int(b.sum()))
    defined = [result[f"iou/{name}"] for name in names if not math.isnan(result[f"iou/{name}"])]
    result["mean_iou"] = sum(defined) / len(defined) if defined else math.nan
    result["binary_iou"] = iou(truth != background, guess != background)
    return result


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """float[h, w, C] -> float64[height, width, C], interpolated between the centres of pixels."""

    def weights(size: int, out: int) -> np.ndarray:
        centres = np.clip((np.arange(out) + 0.5) * size / out - 0.5, 0, size - 1)
        return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)))

    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum("yh,xw,hwc->yxc", rows, columns, image.astype(np.float64))


def brute_boundary_f1(truth: np.ndarray, guess: np.ndarray, classes: int, tolerance: float) -> list[float]:
    """Each class's boundary F1 in one photo, from neighbours pixel by pixel and the distances of all pairs."""
    guess = np.where(truth == IGNORE_LABEL, IGNORE_LABEL, guess)

    def border(labels: np.ndarray, label: int) -> np.ndarray:
        found = []
        for row, column in np.argwhere(labels == label):
            for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
                if inside and labels[y, x] not in (label, IGNORE_LABEL):
                    found.append((row, column))
                    break
        return np.array(found, float).reshape(-1, 2)

    result = []
    for label in range(classes):
        a, b = border(truth, label), border(guess, label)
        if not len(a) and not len(b):
            result.append(math.nan)
        elif not len(a) or not len(b):
            result.append(0.0)
        else:
            near = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1)) <= tolerance + 1e-9
            recall, precision = near.any(axis=1).mean(), near.any(axis=0).mean()
            result.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return result


def scores_of_photos(
    photos: list[tuple[np.ndarray, np.ndarray]], names: list[str], background: int, tolerance: float
) -> dict[str, float]:
    """Every score of photos given as (truth, prediction): of regions over all pixels, of boundaries over photos."""
    truth, guess = (np.concatenate([np.ravel(photo[part]) for photo in photos]) for part in (0, 1))
    result = pixel_scores(truth, guess, names, background)
    f1 = [brute_boundary_f1(*photo, len(names), tolerance) for photo in photos]
    for label, name in enumerate(names):
        defined = [values[label] for values in f1 if not math.isnan(values[label])]
        result[f"boundary_f1/{name}"] = sum(defined) / len(defined) if defined else math.nan
    means = [result[f"boundary_f1/{name}"] for name in names]
    means = [value for value in means if not math.isnan(value)]
    result["mean_boundary_f1"] = sum(means) / len(means) if means else math.nan
    return result


def brute_half_widths(photos: list, names: list[str], background: int, tolerance: float) -> dict[str, float]:
    """Half of each 95 % interval: every score computed anew without each photo in turn."""
    count = len(photos)
    left_out = [
        scores_of_photos(photos[:i] + photos[i + 1 :], names, background, tolerance) for i in range(count) if count > 1
    ]
    result = {}
    for name in scores_of_photos(photos, names, background, tolerance):
        values = [scores[name] for scores in left_out]
        mean = sum(values) / count if values else math.nan
        error = math.sqrt((count - 1) / count * sum((value - mean) ** 2 for value in values)) if values else math.nan
        result[name] = error * stats.t.ppf(0.975, count - 1) if values else math.nan
    return result
