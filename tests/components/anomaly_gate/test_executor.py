"""AnomalyGate's executor on anomalies that TFDV itself found in real statistics."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import standard_artifacts
from tfx.utils import import_utils

from components.anomaly_gate import DRIFT
from components.anomaly_gate.comparisons import write_comparisons
from components.anomaly_gate.component import DataBlessing
from components.anomaly_gate.executor import Executor
from components.errors import RefusedError
from components.refusal import refusal_file

SCHEMA = text_format.Parse(
    """
    feature { name: "breed" type: BYTES presence { min_fraction: 1.0 } domain: "breed" }
    feature { name: "height" type: INT presence { min_fraction: 1.0 } int_domain { min: 16 max: 100 } }
    string_domain { name: "breed" value: "pug" value: "Bengal" }
    """,
    schema_pb2.Schema(),
)
GOOD = {"breed": ["pug", "Bengal"], "height": [30, 40]}


def check(
    folder, schema: schema_pb2.Schema = SCHEMA, comparisons: str | None = None, **splits: dict[str, list]
) -> DataBlessing:
    """Validates each split with TFDV and lets the gate judge; there is no span before unless `comparisons` name one."""
    anomalies, stored, blessing = standard_artifacts.ExampleAnomalies(), standard_artifacts.Schema(), DataBlessing()
    anomalies.uri, stored.uri = str(folder / "anomalies"), str(folder / "schema")
    blessing.uri = str(folder / "AnomalyGate" / "blessing" / "7")
    os.makedirs(stored.uri)
    (folder / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(schema))
    anomalies.split_names = json.dumps(list(splits))
    for split, columns in splits.items():
        statistics = tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))
        found = tfdv.validate_statistics(statistics, schema)
        os.makedirs(folder / "anomalies" / f"Split-{split}")
        (folder / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    properties = {"comparisons": comparisons or write_comparisons(str(folder), [], []), "fingerprint": "x"}
    Executor().Do({"anomalies": [anomalies], "schema": [stored]}, {"blessing": [blessing]}, properties)
    return blessing


def test_data_that_fit_get_a_blessing(tmp_path):
    blessing = check(tmp_path, train=GOOD, eval=GOOD)
    assert json.loads(Path(blessing.uri, "checked.json").read_text()) == {"splits": ["train", "eval"]}
    assert json.loads(blessing.get_string_custom_property(DRIFT)) == []
    assert import_utils.import_class_by_path(blessing.TYPE_NAME) is DataBlessing


@pytest.mark.parametrize(
    "columns, feature",
    [
        ({"breed": ["pug", "wolfhound"], "height": [30, 40]}, "breed: .*wolfhound"),
        ({"breed": ["pug", "Bengal"], "height": [30, 101]}, "height: .*101"),
        ({"breed": ["pug", "Bengal"]}, "height: "),
        ({"breed": ["pug", "Bengal"], "height": ["30", "40"]}, "height: "),
        ({**GOOD, "weight": [1, 2]}, "weight: "),
    ],
    ids=["value outside the domain", "number outside the range", "feature missing", "other type", "unknown feature"],
)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_an_anomaly_in_any_split_is_refused_by_split_and_feature(tmp_path, columns, feature, split):
    with pytest.raises(RefusedError, match=f"^{split}: {feature}") as refusal:
        check(tmp_path, **({"train": GOOD, "eval": GOOD} | {split: columns}))
    assert refusal.value.exit_status == 3
    assert not (tmp_path / "AnomalyGate" / "blessing").exists()
    reasons = json.loads(Path(refusal_file(str(tmp_path / "AnomalyGate"), 7)).read_text())
    assert "; ".join(reasons) == str(refusal.value)


def test_every_anomaly_is_named_at_once(tmp_path):
    with pytest.raises(RefusedError) as refusal:
        check(tmp_path, train={"breed": ["wolf"], "height": [5]}, eval={"breed": ["fox"], "height": [50]})
    for part in ("train: breed: ", "wolf", "train: height: ", "eval: breed: ", "fox"):
        assert part in str(refusal.value)


def test_an_anomaly_of_the_whole_dataset_is_refused_too(tmp_path):
    schema = schema_pb2.Schema()
    schema.CopyFrom(SCHEMA)
    schema.dataset_constraints.min_examples_count = 3
    with pytest.raises(RefusedError, match="train: dataset: .*2 examples"):
        check(tmp_path, schema, train=GOOD)


DRIFTING = text_format.Parse(
    """
    feature {
      name: "brightness" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 0.35 } }
    }
    feature { name: "breed" type: BYTES domain: "breed" }
    string_domain { name: "breed" value: "pug" }
    """,
    schema_pb2.Schema(),
)


def test_a_drift_is_refused_beside_the_anomalies(tmp_path, drifting):
    comparisons = write_comparisons(drifting, [3], [2, 3])
    with pytest.raises(RefusedError) as refusal:
        check(tmp_path, DRIFTING, comparisons, train={"brightness": [0.2, 0.3], "breed": ["wolf", "pug"]})
    first, second = str(refusal.value).split("; span 3: ")
    assert first.startswith("train: breed: ") and "wolf" in first
    assert second.startswith("brightness: mean brightness 0.") and "in span 2 (distance" in second


def test_what_was_compared_and_passed_is_recorded(tmp_path, drifting):
    comparisons = write_comparisons(drifting, [2], [1, 2])
    blessing = check(tmp_path, DRIFTING, comparisons, train={"brightness": [0.2, 0.3], "breed": ["pug", "pug"]})
    (measured,) = json.loads(blessing.get_string_custom_property(DRIFT))
    assert (measured["feature"], measured["span"], measured["previous"]) == ("brightness", 2, 1)
    assert 0 <= measured["distance"] < measured["threshold"] == 0.35
    assert abs(measured["now"] - measured["before"]) < 0.1
