"""What of a schema a person may widen, on statistics that TFDV itself makes of raw examples."""

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from drawing import encoded, pet
from tensorflow_data_validation.statistics import stats_impl
from tfx_bsl.coders import example_coder

from components.errors import RefusedError
from components.ingest.reader import read_pair
from components.ingest.settings import DataSettings
from components.ingest.shards import raw_example
from components.ingest.sources import Pair
from pipeline.schema_accept import allow
from pipeline.schema_file import read_schema
from schema import SCHEMA_FILE
from trainer.features import FeatureSpec

CURATED = read_schema(SCHEMA_FILE)


def statistics(stem: str = "pug_1", change=lambda features: None):
    """Of three clean examples and a changed one, with the options of this project's pipeline."""
    examples = []
    for seed in range(4):
        photo, trimap = pet(seed=seed)
        read = read_pair(encoded(photo, "JPEG"), encoded(trimap, "PNG"), FeatureSpec(), DataSettings())
        pair = Pair(stem, f"{stem}.jpg", f"{stem}.png", "train")
        examples.append(raw_example(pair, read, FeatureSpec(), DataSettings()))
    change(examples[0].features.feature)
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch([e.SerializeToString() for e in examples])
    options = tfdv.StatsOptions(schema=CURATED, enable_semantic_domain_stats=True)
    return stats_impl.generate_statistics_in_memory(batch, options)


def replace(name: str, **feature):
    """Another value, or values of another type, of one feature."""
    return lambda features: features[name].CopyFrom(tf.train.Feature(**feature))


def whole(*values: int) -> dict:
    return {"int64_list": tf.train.Int64List(value=values)}


def real(*values: float) -> dict:
    return {"float_list": tf.train.FloatList(value=values)}


def anomalies(schema, found) -> set[str]:
    return set(tfdv.validate_statistics(found, schema).anomaly_info)


@pytest.mark.parametrize(
    "found, feature",
    [
        (statistics("Unicorn_1"), "breed"),
        (statistics(change=replace("height", **whole(8))), "height"),
        (statistics(change=replace("width", **whole(40_000))), "width"),
    ],
    ids=["a new breed", "a small photo", "a wide photo"],
)
def test_a_range_is_widened_for_what_was_found_and_nothing_else_changes(found, feature):
    assert anomalies(CURATED, found) == {feature}
    accepted = allow(CURATED, [found, statistics()])
    assert anomalies(accepted, found) == anomalies(accepted, statistics()) == set()
    assert anomalies(accepted, statistics("wolf_1")) == {"breed"}
    changed = [one.name for one, other in zip(accepted.feature, CURATED.feature, strict=True) if one != other]
    assert set(changed) <= {feature}


def test_what_fits_changes_nothing():
    assert allow(CURATED, [statistics(), statistics("Bengal_1")]) == CURATED


@pytest.mark.parametrize(
    "change, feature",
    [
        (lambda features: features.pop("image"), "image"),
        (lambda features: features.pop("breed"), "breed"),
        (lambda features: features.pop("class_share/pet"), "class_share/pet"),
        (replace("brightness", **real(1.5)), "brightness"),
        (replace("class_share/pet", **real(-0.5)), "class_share/pet"),
        (replace("height", **whole(40, 50)), "height"),
    ],
    ids=["no photo", "no breed", "no share", "too bright", "a share under zero", "two heights"],
)
def test_what_segpipe_relies_on_cannot_be_accepted(change, feature):
    found = statistics(change=change)
    assert feature in anomalies(CURATED, found)
    with pytest.raises(RefusedError, match=f"segpipe relies on {feature} as it is in the schema"):
        allow(CURATED, [found])
