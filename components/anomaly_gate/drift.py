"""Measures how far the photos of a span are from those of the span before, and puts both values into words.

The schema says what is compared (every feature with a `drift_comparator`) and how far apart is too far; TFDV computes
the distance. ExampleValidator cannot: it is never given the statistics of another span.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.anomaly_gate.comparisons import Pair
from components.example_gen.window import WindowSpan
from components.ingest.sources import SPLITS
from components.ingest.spans import MANIFEST, Manifest, read_record
from trainer.features import CLASS_SHARE

_TYPES = {schema_pb2.FLOAT: tf.float32, schema_pb2.INT: tf.int64, schema_pb2.BYTES: tf.string}

_BUCKETS = 7
"""Few, for spans of few photos; benchmarks/drift_thresholds.py shows what it and the schema's thresholds tell apart."""


@dataclass(frozen=True)
class Drift:
    """How far one feature of a span is from the same of the span before.

    Attributes:
      feature: its name.
      span, previous: numbers of the spans.
      now, before: its mean in either; of a feature of bytes, the share of the value whose share changed most.
      distance: what TFDV measured.
      threshold: what the schema allows.
      value: the value that `now` and `before` are shares of, or None for a number.
    """

    feature: str
    span: int
    previous: int
    now: float
    before: float
    distance: float
    threshold: float
    value: str | None = None

    @property
    def too_far(self) -> bool:
        return self.distance > self.threshold

    def __str__(self) -> str:
        what = f"mean {self.feature}"
        if self.value is not None:
            what = f"share of {self.feature} {self.value}"
        elif self.feature.startswith(CLASS_SHARE):
            what = f"share of class {self.feature.removeprefix(CLASS_SHARE)}"
        return (
            f"span {self.span}: {self.feature}: {what} {_figure(self.now)}, was {_figure(self.before)} in span "
            f"{self.previous} (distance {self.distance:.2f}, drift_comparator allows {self.threshold:g})"
        )


def measure_drift(pairs: list[Pair], schema: schema_pb2.Schema, strange: Collection[str] = ()) -> list[Drift]:
    """Compares spans with the ones before them, all photos of either.

    Args:
      pairs: the spans.
      schema: says by `drift_comparator`s what is compared.
      strange: features that do not even fit the schema, which are not compared.

    Returns:
      A measurement per pair and feature that both spans have.
    """
    compared = [f for f in schema.feature if f.HasField("drift_comparator") and f.name not in strange]
    return [drift for pair in pairs for drift in _measure(pair, compared)]


def _measure(pair: Pair, compared: list[schema_pb2.Feature]) -> list[Drift]:
    now, before = _columns(pair.span, compared), _columns(pair.previous, compared)
    found = []
    for feature in compared:
        here, there = now[feature.name], before[feature.name]
        # A span of other classes has no share of this one.
        if here.size and there.size:
            value, mean_here, mean_there = _both_values(here, there)
            found.append(
                Drift(
                    feature=feature.name,
                    span=pair.span.number,
                    previous=pair.previous.number,
                    now=mean_here,
                    before=mean_there,
                    distance=distance_between(feature, here, there),
                    threshold=_threshold(feature.drift_comparator),
                    value=value,
                )
            )
    return found


def _figure(value: float) -> str:
    """Two decimals for what lies in 0..1, one for pixels."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _columns(span: WindowSpan, features: list[schema_pb2.Feature]) -> dict[str, np.ndarray]:
    """The values of features of all examples of a span; empty where it has no such feature."""
    manifest = read_record(os.path.join(span.folder, MANIFEST), Manifest)
    files = [os.path.join(span.folder, shard.name) for split in SPLITS for shard in manifest.splits[split]]
    kinds = {feature.name: tf.io.VarLenFeature(_TYPES[feature.type]) for feature in features}
    parts = {name: [] for name in kinds}
    if kinds:
        for batch in tf.data.TFRecordDataset(files).batch(64):
            for name, tensor in tf.io.parse_example(batch, kinds).items():
                parts[name].append(tensor.values.numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _both_values(here: np.ndarray, there: np.ndarray) -> tuple[str | None, float, float]:
    if here.dtype != object:
        return None, float(here.mean()), float(there.mean())
    shares = [pd.Series(column).value_counts(normalize=True) for column in (here, there)]
    changes = shares[0].subtract(shares[1], fill_value=0).abs()
    value = changes.idxmax()
    return value.decode(errors="replace"), float(shares[0].get(value, 0)), float(shares[1].get(value, 0))


def distance_between(feature: schema_pb2.Feature, here: np.ndarray, there: np.ndarray) -> float:
    """TFDV's distance of two columns of values, by the kind of the feature's `drift_comparator`.

    TFDV cuts either column into buckets between its own lowest and highest value, so that one odd photo moves all of
    them and spans of one kind look different. With the ends of both in either, both are cut alike.
    """
    if here.dtype != object:
        ends = np.array([min(here.min(), there.min()), max(here.max(), there.max())])
        here, there = (np.append(column, ends) for column in (here, there))
    alone = schema_pb2.Schema()
    alone.feature.add(name=feature.name, type=feature.type).drift_comparator.CopyFrom(feature.drift_comparator)
    now, before = (_statistics(feature.name, column) for column in (here, there))
    anomalies = tfdv.validate_statistics(now, alone, previous_statistics=before)
    (measured,) = anomalies.drift_skew_info
    (measurement,) = measured.drift_measurements
    return measurement.value


def _statistics(name: str, column: np.ndarray) -> statistics_pb2.DatasetFeatureStatisticsList:
    options = tfdv.StatsOptions(num_histogram_buckets=_BUCKETS)
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame({name: column}), options, n_jobs=1)


def _threshold(comparator: schema_pb2.FeatureComparator) -> float:
    (kind,) = (field.name for field, _ in comparator.ListFields())
    return getattr(comparator, kind).threshold
