"""The curated schema against TFDV itself: what ingest writes passes, and each way of being wrong is an anomaly."""

import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from drawing import encoded, pet
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

from components.ingest.reader import read_pair
from components.ingest.settings import DataSettings
from components.ingest.shards import raw_example
from components.ingest.sources import Pair
from pipeline.schema_file import fit_schema, read_schema
from schema import SCHEMA_FILE
from trainer.features import ClassSpec, FeatureSpec


def example(stem: str = "pug_1", spec: FeatureSpec | None = None, data: DataSettings | None = None, seed: int = 0):
    """A raw example as ingest writes it, from a drawn photo."""
    spec, data, (photo, trimap) = spec or FeatureSpec(), data or DataSettings(), pet(seed=seed)
    read = read_pair(encoded(photo, "JPEG"), encoded(trimap, "PNG"), spec, data)
    return raw_example(Pair(stem, f"{stem}.jpg", f"{stem}.png", "train"), read, spec, data)


def anomalies(examples: list[tf.train.Example], schema: schema_pb2.Schema) -> dict[str, str]:
    """What StatisticsGen and ExampleValidator would find, with the options of this project's pipeline."""
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    batch = decoder.DecodeBatch([e.SerializeToString() for e in examples])
    assert isinstance(batch, pa.RecordBatch)
    options = tfdv.StatsOptions(schema=schema, enable_semantic_domain_stats=True)
    statistics = stats_impl.generate_statistics_in_memory(batch, options)
    found = tfdv.validate_statistics(statistics, schema)
    return {name: info.description for name, info in found.anomaly_info.items()}


@pytest.fixture(scope="module")
def curated() -> schema_pb2.Schema:
    return read_schema(SCHEMA_FILE)


def test_what_ingest_writes_for_pets_has_no_anomaly(curated):
    stems = ["pug_1", "Bengal_17", "english_cocker_spaniel_100", "Sphynx_2"]
    # A hundred, because TFDV looks for images, dates and prose in a feature from then on.
    assert anomalies([example(stem, seed=seed) for seed, stem in enumerate(stems)] * 25, curated) == {}


def test_what_ingest_writes_for_other_classes_and_slices_fits_their_schema(curated):
    spec = FeatureSpec(
        classes=(ClassSpec(name="thing", values=(1, 3)), ClassSpec(name="ground", values=(2,))), background="ground"
    )
    data = DataSettings(slice_keys={"city": {r"^(\w+)-": r"\1"}})
    fitted = fit_schema(curated, spec.class_names, ["city"])
    assert anomalies([example("ulm-1", spec, data), example("bonn-2", spec, data)], fitted) == {}
    # And it does not fit the schema of Pets, whose shares and slice keys it lacks.
    assert {"class_share/pet", "breed", "species"} <= anomalies([example("ulm-1", spec, data)], curated).keys()


def drop(name: str):
    return lambda features: features.pop(name)


def set_bytes(name: str, *values: bytes):
    return lambda features: features[name].CopyFrom(tf.train.Feature(bytes_list=tf.train.BytesList(value=values)))


def set_int(name: str, *values: int):
    return lambda features: features[name].CopyFrom(tf.train.Feature(int64_list=tf.train.Int64List(value=values)))


def set_float(name: str, *values: float):
    return lambda features: features[name].CopyFrom(tf.train.Feature(float_list=tf.train.FloatList(value=values)))


FEATURES = [
    *("image", "mask", "filename", "height", "width", "brightness", "breed", "species"),
    *("class_share/pet", "class_share/background", "class_share/contour"),
]


WRONG = {
    **{f"without {name}": (name, drop(name)) for name in FEATURES},
    "a strange breed": ("breed", set_bytes("breed", b"wolf")),
    "two breeds": ("breed", set_bytes("breed", b"pug", b"Bengal")),
    "a strange species": ("species", set_bytes("species", b"unknown")),
    "a tiny photo": ("height", set_int("height", 15)),
    "a huge photo": ("width", set_int("width", 20_001)),
    "too bright": ("brightness", set_float("brightness", 1.01)),
    "too dark": ("brightness", set_float("brightness", -0.01)),
    "a share over one": ("class_share/pet", set_float("class_share/pet", 1.5)),
    "a feature too many": ("weight", set_float("weight", 4.2)),
}


@pytest.mark.parametrize("feature, change", WRONG.values(), ids=WRONG)
def test_one_wrong_example_among_good_ones_is_an_anomaly_of_that_feature(curated, feature, change):
    wrong = example("Bengal_2")
    change(wrong.features.feature)
    assert feature in anomalies([example("pug_1"), wrong, example("pug_3")], curated)


@pytest.mark.parametrize("feature", ["image", "mask"])
@pytest.mark.parametrize("content", [b"no picture", b""])
def test_one_image_that_is_none_is_an_anomaly(curated, feature, content):
    # TFDV counts a feature as images from 100 examples on, if four of five begin as images do; it decodes none.
    # That every single one decodes is what ingest sees to.
    wrong = example()
    set_bytes(feature, content)(wrong.features.feature)
    assert "supported images: 0.99" in anomalies([example()] * 99 + [wrong], curated)[feature]


@pytest.mark.parametrize(
    "feature, change", [("breed", set_int("breed", 7)), ("height", set_float("height", 40.0))], ids=["breed", "height"]
)
def test_a_feature_of_another_type_is_an_anomaly(curated, feature, change):
    wrong = example()
    change(wrong.features.feature)
    assert feature in anomalies([wrong], curated)


def test_the_description_says_what_is_wrong(curated):
    wrong = example("wolf_1")
    assert "wolf" in anomalies([wrong], curated)["breed"]


def test_the_schema_knows_the_37_breeds_of_the_dataset(curated):
    domains = {domain.name: list(domain.value) for domain in curated.string_domain}
    assert len(set(domains["breed"])) == 37
    # In Oxford-IIIT Pets a capital marks a cat, and 12 breeds are cats.
    assert sum(breed[0].isupper() for breed in domains["breed"]) == 12
    assert domains["species"] == ["cat", "dog"]
