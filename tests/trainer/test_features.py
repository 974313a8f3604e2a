"""The class map: what it refuses, and what every mask value becomes."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from trainer.features import IGNORE_LABEL, PALETTE, ClassSpec, FeatureSpec

PET, GROUND = {"name": "pet", "values": [1]}, {"name": "background", "values": [2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": [PET, {"name": "background", "values": [2, 1]}]}, "mask value 1 is declared twice"),
        ({"classes": [{"name": "pet", "values": [1, 1]}, GROUND]}, "mask value 1 is declared twice"),
        ({"classes": [PET, GROUND], "ignore_values": [2]}, "mask value 2 is declared twice"),
        ({"classes": [PET, GROUND], "ignore_values": [0, 0]}, "mask value 0 is declared twice"),
        ({"classes": [PET, GROUND, PET | {"values": [3]}]}, "each name once"),
        ({"classes": [GROUND]}, "at least two"),
        ({"classes": [PET, {"name": "background", "values": []}]}, "at least 1 item"),
        ({"classes": [PET, {"name": "background", "values": [256]}]}, "0..255"),
        ({"classes": [PET, {"name": "background", "values": [-1]}]}, "0..255"),
        ({"ignore_values": [256]}, "ignore_values: mask values lie in 0..255"),
        ({"ignore_values": [-1]}, "ignore_values: mask values lie in 0..255"),
        ({"background": "sky"}, "background: 'sky' is none of the classes"),
        ({"height": 100}, "multiple of 16"),
        ({"width": 130}, "multiple of 16"),
        ({"height": 16}, "greater than or equal to 32"),
        ({"width": 2064}, "less than or equal to 2048"),
        ({"classes": [PET | {"name": "a pet"}, GROUND]}, "should match pattern"),
        ({"classes": [PET | {"colour": "red"}, GROUND]}, "should match pattern"),
        ({"clases": [PET, GROUND]}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_class_map_is_refused_and_the_rule_named(changes, message):
    with pytest.raises(ValidationError, match=message):
        FeatureSpec.model_validate(changes)


def test_the_error_names_the_field_for_the_person_who_edits_the_yaml():
    with pytest.raises(ValidationError) as caught:
        FeatureSpec.model_validate({"classes": [PET, {"name": "background", "values": [300]}], "height": 90})
    assert [error["loc"] for error in caught.value.errors()] == [("classes", 1, "values"), ("height",)]


def test_the_label_table_knows_every_byte():
    spec = FeatureSpec(
        classes=(ClassSpec(name="background", values=(0, 7)), ClassSpec(name="road", values=(255, 3, 9))),
        ignore_values=(1,),
    )
    expected = {0: 0, 7: 0, 255: 1, 3: 1, 9: 1}
    table = spec.label_table()
    assert table.dtype == np.uint8
    assert table.tolist() == [expected.get(value, IGNORE_LABEL) for value in range(256)]


def test_the_value_table_leads_back_to_the_users_own_values():
    spec = FeatureSpec(
        classes=(ClassSpec(name="pet", values=(40, 41)), ClassSpec(name="background", values=(0,))), ignore_values=(9,)
    )
    assert spec.value_table().tolist() == [40, 0]
    assert spec.label_table()[spec.value_table()].tolist() == [0, 1]
    assert spec.mask_values == {0, 9, 40, 41}


def test_as_many_classes_as_a_byte_allows():
    spec = FeatureSpec(
        classes=tuple(ClassSpec(name=f"c{value}", values=(value,)) for value in range(254)), background="c0"
    )
    assert spec.label_table().tolist() == [*range(254), IGNORE_LABEL, IGNORE_LABEL]
    with pytest.raises(ValidationError):
        # Label 255 means "ignore", so a 256th class would have no label of its own.
        FeatureSpec(classes=tuple(ClassSpec(name=f"c{v}", values=(v,)) for v in range(256)), background="c0")


def test_json_brings_back_the_same_spec():
    spec = FeatureSpec(
        classes=(ClassSpec(name="pet", values=(1, 4), colour="#00ff00"), ClassSpec(name="sky", values=(2,))),
        ignore_values=(255,),
        background="sky",
        height=64,
        pixel_mean=(0.1, 0.2, 0.3),
    )
    assert FeatureSpec.model_validate_json(spec.model_dump_json()) == spec
    assert json.loads(spec.model_dump_json())["classes"][0]["values"] == [1, 4]


def test_names_labels_and_colours_follow_the_order_of_the_classes():
    spec = FeatureSpec(
        classes=(
            ClassSpec(name="sky", values=(5,)),
            ClassSpec(name="pet", values=(1,), colour="#00ff00"),
            ClassSpec(name="grass", values=(3,)),
        ),
        background="grass",
    )
    assert spec.class_names == ["sky", "pet", "grass"]
    assert (spec.num_classes, spec.background_label) == (3, 2)
    assert spec.colours == [PALETTE[0], "#00ff00", PALETTE[2]]
