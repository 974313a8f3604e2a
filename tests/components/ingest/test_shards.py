"""Shards: every pair in exactly one, always the same ones, and the raw example of the data contract."""

import os

import pytest

from components.ingest import shards
from components.ingest.reader import ReadPair
from components.ingest.settings import DataSettings
from components.ingest.shards import plan_shards, raw_example, useful_threads
from components.ingest.sources import Pair
from trainer.features import ClassSpec, FeatureSpec


def pairs(count: int, split: str) -> list[Pair]:
    return [Pair(f"{split}_{n}", f"{split}_{n}.jpg", f"{split}_{n}.png", split) for n in range(count)]


@pytest.mark.parametrize(
    "train, evaluation, sizes",
    [
        (1, 1, {"train-00000-of-00001": 1, "eval-00000-of-00001": 1}),
        (200, 1, {"train-00000-of-00001": 200, "eval-00000-of-00001": 1}),
        (201, 0, {"train-00000-of-00002": 101, "train-00001-of-00002": 100}),
        (0, 0, {}),
    ],
)
def test_shards_hold_at_most_200_photos_each(train, evaluation, sizes):
    plans = plan_shards(pairs(train, "train") + pairs(evaluation, "eval"), "folder")
    assert {os.path.basename(plan.path).removesuffix(".tfrecord"): len(plan.pairs) for plan in plans} == sizes


def test_every_pair_is_in_exactly_one_shard_of_its_split():
    everything = pairs(450, "train") + pairs(230, "eval")
    plans = plan_shards(everything, "folder")
    planned = [pair for plan in plans for pair in plan.pairs]
    assert len(planned) == len(set(planned)) == 680
    assert set(planned) == set(everything)
    assert all(pair.split == plan.split for plan in plans for pair in plan.pairs)


def test_the_order_in_which_the_disk_lists_files_changes_nothing():
    everything = pairs(450, "train")
    assert plan_shards(everything, "folder") == plan_shards(everything[::-1], "folder")


def test_a_shard_mixes_breeds():
    # Trained in the order of names, a batch would show one breed alone.
    breeds = [Pair(f"{breed}_{n}", "", "", "train") for breed in "abcd" for n in range(50)]
    (plan,) = plan_shards(breeds, "folder")
    assert {pair.stem[0] for pair in plan.pairs[:20]} == set("abcd")


@pytest.mark.parametrize(
    "size, processes, threads", [(12_000, 1, 1), (80_000, 1, 8), (80_000, 3, 2), (80_000, 9, 1), (80_000, 0, 1)]
)
def test_only_large_photos_are_read_in_threads(monkeypatch, tmp_path, size, processes, threads):
    monkeypatch.setattr(shards, "usable_cores", lambda: 8)
    photos = [tmp_path / f"{number}.jpg" for number in range(3)]
    for photo in photos:
        photo.write_bytes(bytes(size))
    assert useful_threads(tuple(Pair(photo.stem, str(photo), "", "train") for photo in photos), processes) == threads


def test_a_raw_example_holds_what_the_contract_promises():
    spec = FeatureSpec(
        classes=(ClassSpec(name="road", values=(0,)), ClassSpec(name="car", values=(4, 5))), background="road"
    )
    settings = DataSettings(slice_keys={"city": {r"^(\w+)-": r"\1"}, "night": {"-n": "yes", "-d": "no"}})
    read = ReadPair(
        b"jpeg", b"png", height=30, width=50, brightness=0.25, class_shares=[0.75, 0.25], perceptual_hash=None
    )
    example = raw_example(Pair("ulm-n7", "/a/ulm-n7.JPG", "/b/ulm-n7.png", "train"), read, spec, settings)
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[name] = (kind, *getattr(feature, kind).value)
    assert features == {
        "image": ("bytes_list", b"jpeg"),
        "mask": ("bytes_list", b"png"),
        "filename": ("bytes_list", b"ulm-n7.JPG"),
        "height": ("int64_list", 30),
        "width": ("int64_list", 50),
        "brightness": ("float_list", 0.25),
        "class_share/road": ("float_list", 0.75),
        "class_share/car": ("float_list", 0.25),
        "city": ("bytes_list", b"ulm"),
        "night": ("bytes_list", b"yes"),
    }


@pytest.mark.parametrize(
    "stem, values",
    [
        ("Abyssinian_100", {"breed": "Abyssinian", "species": "cat"}),
        ("english_cocker_spaniel_7", {"breed": "english_cocker_spaniel", "species": "dog"}),
        ("photo", {"breed": "unknown", "species": "dog"}),
        ("2024-05-01", {"breed": "unknown", "species": "unknown"}),
    ],
)
def test_slice_keys_of_pets_come_from_the_stem(stem, values):
    assert DataSettings().slice_values(stem) == values


def test_the_first_rule_that_matches_decides():
    settings = DataSettings(slice_keys={"kind": {"cat": "cat", "c": "other"}})
    assert settings.slice_values("cat") == {"kind": "cat"}
    assert settings.slice_values("cow") == {"kind": "other"}
