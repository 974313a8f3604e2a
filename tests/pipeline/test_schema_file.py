"""Which schema a run uses, and where it lies: under the hash of what it says."""

import os

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import UsageError
from components.ingest.settings import DataSettings
from pipeline.config import Config
from pipeline.schema_file import fit_schema, read_schema, schema_for, schema_source
from schema import SCHEMA_FILE
from trainer.features import ClassSpec, FeatureSpec

PETS, KEYS = ["pet", "background", "contour"], ["breed", "species"]
NOWHERE = "/nowhere/schema.pbtxt"
"""Where a workspace would keep an accepted schema."""

STREETS = FeatureSpec(
    classes=(ClassSpec(name="road", values=(0,)), ClassSpec(name="car", values=(4, 5))), background="road"
)


@pytest.fixture(scope="module")
def curated() -> schema_pb2.Schema:
    return read_schema(SCHEMA_FILE)


def names(schema: schema_pb2.Schema) -> list[str]:
    return [feature.name for feature in schema.feature]


def test_the_curated_schema_comes_back_as_it_is_for_pets(curated):
    assert fit_schema(curated, PETS, KEYS) == curated


def test_the_curated_schema_is_not_changed_by_fitting(curated):
    fit_schema(curated, ["a", "b"], ["city"])
    assert curated == read_schema(SCHEMA_FILE)


def test_other_classes_get_a_share_of_their_own(curated):
    fitted = fit_schema(curated, ["road", "car", "sky", "pet"], KEYS)
    shares = {f.name: f for f in fitted.feature if f.name.startswith("class_share/")}
    assert list(shares) == ["class_share/road", "class_share/car", "class_share/sky", "class_share/pet"]
    for name, feature in shares.items():
        domain = feature.float_domain
        assert (feature.type, domain.name, domain.min, domain.max) == (schema_pb2.FLOAT, name, 0.0, 1.0)
        assert feature.presence.min_fraction == 1.0


@pytest.mark.parametrize(
    "keys, with_domain, without",
    [
        (["species"], ["species"], []),
        (["city"], [], ["city"]),
        (["city", "breed"], ["breed"], ["city"]),
        ([], [], []),
    ],
)
def test_slice_keys_keep_the_domain_they_have_and_new_ones_take_any_value(curated, keys, with_domain, without):
    fitted = fit_schema(curated, PETS, keys)
    features = {f.name: f for f in fitted.feature}
    assert features.keys() - {f.name for f in curated.feature} == set(without)
    assert {"breed", "species"} & features.keys() == set(with_domain)
    for key in keys:
        assert features[key].type == schema_pb2.BYTES
        assert features[key].presence.min_fraction == 1.0
        assert features[key].domain == (key if key in with_domain else "")
    # A domain that no feature uses would be an anomaly of the schema itself.
    assert [domain.name for domain in fitted.string_domain] == with_domain


def test_everything_else_of_the_schema_stays(curated):
    kept = ["image", "mask", "filename", "height", "width", "brightness"]
    assert names(fit_schema(curated, ["a", "b"], []))[: len(kept)] == kept


def test_a_schema_lies_under_its_content_so_that_an_edit_is_a_new_path(tmp_path):
    pets, streets = (
        schema_for(Config(), str(tmp_path), NOWHERE),
        schema_for(Config(features=STREETS), str(tmp_path), NOWHERE),
    )
    assert pets != streets
    assert read_schema(pets) == read_schema(SCHEMA_FILE)
    assert "class_share/car" in names(read_schema(streets))


def test_the_same_schema_is_written_once(tmp_path):
    path = schema_for(Config(), str(tmp_path), NOWHERE)
    written = os.stat(path).st_mtime_ns
    # Neither the net nor the gate is any business of the schema.
    again = schema_for(Config(pipeline_name="other", data=DataSettings(eval_share=0.5)), str(tmp_path), NOWHERE)
    assert (again, os.stat(path).st_mtime_ns) == (path, written)
    assert len(list(tmp_path.rglob("*.pbtxt*"))) == 1


def test_an_own_schema_is_taken_as_it_is(tmp_path):
    own = tmp_path / "own.pbtxt"
    own.write_text('feature { name: "only" type: INT }  # a comment')
    path = schema_for(Config(schema_file=str(own)), str(tmp_path / "schemas"), NOWHERE)
    assert names(read_schema(path)) == ["only"]
    own.write_text('feature { name: "other" type: INT }')
    assert schema_for(Config(schema_file=str(own)), str(tmp_path / "schemas"), NOWHERE) != path


def test_a_comment_in_an_own_schema_reruns_nothing(tmp_path):
    own = tmp_path / "own.pbtxt"
    own.write_text('feature { name: "only" type: INT }')
    before = schema_for(Config(schema_file=str(own)), str(tmp_path / "schemas"), NOWHERE)
    own.write_text('# why\nfeature {\n  name: "only"\n  type: INT\n}\n')
    assert schema_for(Config(schema_file=str(own)), str(tmp_path / "schemas"), NOWHERE) == before


@pytest.mark.parametrize("content", [b"feature { name: ", b"featur { }", b"{}", b"\xff\xfe"])
def test_a_file_that_is_no_schema_is_a_usage_error_that_names_it(tmp_path, content):
    own = tmp_path / "own.pbtxt"
    own.write_bytes(content)
    with pytest.raises(UsageError, match="own.pbtxt: is no schema in protobuf text format") as problem:
        read_schema(str(own))
    assert "\n" not in str(problem.value)


def test_a_schema_reads_back_as_it_was_written(tmp_path, curated):
    (tmp_path / "copy.pbtxt").write_text(text_format.MessageToString(curated))
    assert read_schema(str(tmp_path / "copy.pbtxt")) == curated


@pytest.fixture
def kept(tmp_path, curated) -> str:
    """A workspace's own schema, which knows a breed more than the curated one."""
    accepted = fit_schema(curated, PETS, ["breed"])
    accepted.string_domain[0].value.append("Unicorn")
    path = tmp_path / "schema.pbtxt"
    path.write_text("# accepted\n" + text_format.MessageToString(accepted))
    return str(path)


def breeds(schema: schema_pb2.Schema) -> list[str]:
    return [value for domain in schema.string_domain if domain.name == "breed" for value in domain.value]


def test_an_accepted_schema_takes_the_place_of_the_curated_one(tmp_path, kept):
    assert schema_source(Config(), kept) == kept
    assert "Unicorn" in breeds(read_schema(schema_for(Config(), str(tmp_path / "schemas"), kept)))
    assert schema_source(Config(), NOWHERE) == SCHEMA_FILE
    assert "Unicorn" not in breeds(read_schema(schema_for(Config(), str(tmp_path / "schemas"), NOWHERE)))


def test_an_accepted_schema_is_fitted_to_other_classes_and_slice_keys_like_the_curated_one(tmp_path, kept):
    config = Config(features=STREETS, data=DataSettings(slice_keys={"city": {"^(a)": "b"}, "breed": {"^(a)": "b"}}))
    fitted = read_schema(schema_for(config, str(tmp_path / "schemas"), kept))
    assert {"class_share/road", "class_share/car", "city"} <= set(names(fitted))
    assert not {"species", "class_share/pet"} & set(names(fitted))
    assert "Unicorn" in breeds(fitted)


def test_the_schema_that_the_config_names_comes_before_an_accepted_one(tmp_path, kept):
    own = tmp_path / "own.pbtxt"
    own.write_text('feature { name: "only" type: INT }')
    config = Config(schema_file=str(own))
    assert schema_source(config, kept) == str(own)
    assert names(read_schema(schema_for(config, str(tmp_path / "schemas"), kept))) == ["only"]


def test_every_class_is_watched_for_drift_like_those_of_pets(curated):
    fitted = fit_schema(curated, ["road"], [])
    watched = {feature.name for feature in fitted.feature if feature.HasField("drift_comparator")}
    assert watched == {"brightness", "height", "width", "class_share/road"}
