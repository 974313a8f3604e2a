"""Drift between real spans: photos of one kind pass, a change that anyone would see is told in numbers."""

import glob

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.anomaly_gate.comparisons import read_comparisons, write_comparisons
from components.anomaly_gate.drift import Drift, measure_drift
from pipeline.schema_file import fit_schema, read_schema
from schema import SCHEMA_FILE

PETS = ["pet", "background", "contour"]


@pytest.fixture(scope="module")
def curated() -> schema_pb2.Schema:
    return read_schema(SCHEMA_FILE)


def drifts(data: str, schema: schema_pb2.Schema, span: int, previous: int, strange=()) -> dict[str, Drift]:
    pairs = read_comparisons(write_comparisons(data, [span], [previous, span]))
    return {drift.feature: drift for drift in measure_drift(pairs, schema, strange)}


def values(data: str, span: int, feature: str) -> np.ndarray:
    """A feature's values, read one record at a time."""
    records = tf.data.TFRecordDataset(sorted(glob.glob(f"{data}/span-{span}/*.tfrecord"))).as_numpy_iterator()
    examples = [tf.train.Example.FromString(record).features.feature[feature] for record in records]
    return np.array([e.float_list.value[0] if e.HasField("float_list") else e.int64_list.value[0] for e in examples])


def test_photos_of_one_kind_did_not_drift(drifting, curated):
    found = drifts(drifting, curated, span=2, previous=1)
    assert found.keys() == {"brightness", "height", "width", *(f"class_share/{name}" for name in PETS)}
    assert {name: drift.distance for name, drift in found.items() if drift.too_far} == {}


def test_both_values_are_means_over_all_photos_of_either_span(drifting, curated):
    for name, drift in drifts(drifting, curated, span=3, previous=1).items():
        assert len(values(drifting, 3, name)) == 40
        assert (drift.span, drift.previous) == (3, 1)
        assert drift.now == pytest.approx(values(drifting, 3, name).mean(), rel=1e-5)
        assert drift.before == pytest.approx(values(drifting, 1, name).mean(), rel=1e-5)


@pytest.mark.parametrize(
    "span, drifted",
    [
        (3, {"brightness"}),
        (4, {"height", "width"}),
        (5, {"class_share/pet", "class_share/background", "class_share/contour"}),
    ],
    ids=["darker", "smaller", "farther away"],
)
def test_a_change_that_anyone_would_see_is_too_far_in_just_its_features(drifting, curated, span, drifted):
    found = drifts(drifting, curated, span, previous=2)
    assert {name for name, drift in found.items() if drift.too_far} == drifted


@pytest.mark.parametrize(
    "span, feature, said",
    [
        (3, "brightness", "span 3: brightness: mean brightness {now:.2f}, was {before:.2f} in span 2 (distance "),
        (4, "height", "span 4: height: mean height {now:.1f}, was {before:.1f} in span 2 (distance "),
        (5, "class_share/pet", "span 5: class_share/pet: share of class pet {now:.2f}, was {before:.2f} in span 2 ("),
    ],
)
def test_a_drift_is_told_with_both_values_distance_and_threshold(drifting, curated, span, feature, said):
    drift = drifts(drifting, curated, span, previous=2)[feature]
    now, before = values(drifting, span, feature).mean(), values(drifting, 2, feature).mean()
    assert str(drift).startswith(said.format(now=now, before=before))
    assert str(drift).endswith(f"(distance {drift.distance:.2f}, drift_comparator allows {drift.threshold:g})")
    assert 0 < drift.threshold < drift.distance <= 1


def test_a_feature_of_words_is_told_by_the_one_that_changed_most(drifting):
    text = 'feature { name: "species" type: BYTES drift_comparator { infinity_norm { threshold: 0.1 } } }'
    schema = text_format.Parse(text, schema_pb2.Schema())
    drift = drifts(drifting, schema, span=2, previous=1)["species"]
    assert drift.value in ("cat", "dog")
    # Every drawn dataset has the same animals, so nothing changed.
    assert (drift.now, drift.before, drift.distance, drift.too_far) == (drift.before, drift.before, 0.0, False)
    assert str(drift).startswith(f"span 2: species: share of species {drift.value} {drift.now:.2f}, was ")


def test_what_does_not_fit_the_schema_or_is_in_one_span_alone_is_not_compared(drifting, curated):
    assert "height" not in drifts(drifting, curated, 4, 2, strange={"height"})
    other_classes = fit_schema(curated, ["road", "pet"], [])
    found = drifts(drifting, other_classes, 2, 1)
    assert {name for name in found if name.startswith("class_share/")} == {"class_share/pet"}


def test_a_schema_without_comparators_compares_nothing(drifting, curated):
    silent = schema_pb2.Schema()
    silent.CopyFrom(curated)
    for feature in silent.feature:
        feature.ClearField("drift_comparator")
    assert drifts(drifting, silent, 3, 1) == {}
