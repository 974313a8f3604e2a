"""AnomalyGate's executor on anomalies that TFDV itself found in real statistics."""

import json
import os

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import standard_artifacts

from components.anomaly_gate.component import DataBlessing
from components.anomaly_gate.executor import Executor
from components.errors import RefusedError

SCHEMA = text_format.Parse(
    """
    feature { name: "breed" type: BYTES presence { min_fraction: 1.0 } domain: "breed" }
    feature { name: "height" type: INT presence { min_fraction: 1.0 } int_domain { min: 16 max: 100 } }
    string_domain { name: "breed" value: "pug" value: "Bengal" }
    """,
    schema_pb2.Schema(),
)
GOOD = {"breed": ["pug", "Bengal"], "height": [30, 40]}


def check(folder, schema: schema_pb2.Schema = SCHEMA, **splits: dict[str, list]) -> DataBlessing:
    """Validates each split with TFDV and lets the gate judge."""
    anomalies, blessing = standard_artifacts.ExampleAnomalies(), DataBlessing()
    anomalies.uri, blessing.uri = str(folder / "anomalies"), str(folder / "blessing")
    anomalies.split_names = json.dumps(list(splits))
    for split, columns in splits.items():
        statistics = tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))
        found = tfdv.validate_statistics(statistics, schema)
        os.makedirs(folder / "anomalies" / f"Split-{split}")
        (folder / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    Executor().Do({"anomalies": [anomalies]}, {"blessing": [blessing]}, {"fingerprint": "x"})
    return blessing


def test_data_that_fit_get_a_blessing(tmp_path):
    blessing = check(tmp_path, train=GOOD, eval=GOOD)
    assert json.loads((tmp_path / "blessing" / "checked.json").read_text()) == {"splits": ["train", "eval"]}
    assert blessing.TYPE_NAME == "DataBlessing"


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
    with pytest.raises(RefusedError, match=f"do not fit the schema: {split}: {feature}") as refusal:
        check(tmp_path, **({"train": GOOD, "eval": GOOD} | {split: columns}))
    assert refusal.value.exit_status == 3
    assert not (tmp_path / "blessing").exists()


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
