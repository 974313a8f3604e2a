"""The data section: what manifests, TFDV's statistics and TFDV's anomalies say, of real files."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from drawing import PET, decoded, save, write_lists, write_pair
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.example_gen.window import write_window
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.run_report.data import named_anomalies, span_facts, statistics_facts
from trainer.features import FeatureSpec

TRAIN, TEST = ["pug_1", "pug_2", "Bengal_1"], ["pug_3"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> SimpleNamespace:
    """Two spans of one window: five photos of which one is broken, and two more."""
    folder = tmp_path_factory.mktemp("data")
    data, source = str(folder / "data"), folder / "source"
    for seed, (stem, size) in enumerate(zip([*TRAIN, *TEST], [(40, 56), (40, 80), (64, 56), (40, 56)], strict=True)):
        write_pair(source, stem, seed, *size)
    write_lists(source, [*TRAIN, "pug_9"], TEST)
    write_pair(source, "pug_9", 9)
    save(source / "images" / "pug_9.jpg", b"no photo")
    newer = folder / "newer"
    for seed, stem in ((20, "pug_4"), (21, "pug_5")):
        write_pair(newer, stem, seed)
    write_lists(newer, ["pug_4"], ["pug_5"])
    for place in (source, newer):
        settings = DataSettings(max_quarantine=1)
        trimaps, lists = str(place / "annotations" / "trimaps"), str(place / "annotations")
        ingest(data, str(place / "images"), trimaps, FeatureSpec(height=32, width=48), settings, lists)
    return SimpleNamespace(data=data, source=source, window=write_window(data, [1, 2]))


def test_a_window_tells_what_trains_and_evaluates_and_what_was_left_out(bench):
    facts = span_facts(bench.window)
    assert [(span["span"], span["found"], span["train"], span["eval"]) for span in facts["spans"]] == [
        (1, 5, 3, 1),
        (2, 2, 1, 1),
    ]
    assert (facts["found"], facts["quarantined"], facts["formats"]) == (7, {"undecodable_photo": 1}, {".jpg": 7})
    assert facts["ingested"] == {"train": 4, "eval": 1}, "all spans train, the newest alone evaluates"
    (file,) = facts["quarantined_files"]
    assert (Path(file["file"]).name, file["reason"]) == ("pug_9.jpg", "undecodable_photo") and file["detail"]


def test_a_span_whose_files_were_removed_since_is_told_as_gone(bench, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(bench.data, data)
    window = write_window(str(data), [1, 2])
    shutil.rmtree(data / "span-1")
    facts = span_facts(window)
    assert [span["gone"] for span in facts["spans"]] == [True, False]
    assert (facts["found"], facts["ingested"]) == (2, {"train": 1, "eval": 1})


def test_statistics_tell_class_balance_and_sizes_as_tfdv_measured_them(bench, tmp_path):
    for split in ("train", "eval"):
        (records,) = Path(bench.data, "span-1").glob(f"{split}-*")
        found = tfdv.generate_statistics_from_tfrecord(str(records))
        (tmp_path / f"Split-{split}").mkdir()
        (tmp_path / f"Split-{split}" / "FeatureStats.pb").write_bytes(found.SerializeToString())
    facts = statistics_facts(str(tmp_path))
    assert {split: one["examples"] for split, one in facts.items()} == {"train": 3, "eval": 1}
    masks = [decoded((bench.source / "annotations" / "trimaps" / f"{stem}.png").read_bytes()) for stem in TRAIN]
    share = np.mean([(mask == PET).mean() for mask in masks])
    assert facts["train"]["class_share"]["pet"] == pytest.approx(share, abs=1e-6)
    width = facts["train"]["width"]
    assert (width["min"], width["max"], width["mean"]) == (56, 80, pytest.approx(64))
    assert sum(count for *_, count in width["histogram"]) == 3


def test_anomalies_are_told_by_split(tmp_path):
    message = anomalies_pb2.Anomalies()
    message.anomaly_info["breed"].description = "unexpected value Unicorn"
    (tmp_path / "Split-train").mkdir()
    (tmp_path / "Split-train" / "SchemaDiff.pb").write_bytes(message.SerializeToString())
    assert named_anomalies(str(tmp_path)) == ["train: breed: unexpected value Unicorn"]


def test_a_run_whose_artifacts_are_gone_has_no_figures(tmp_path):
    assert statistics_facts(str(tmp_path / "gone")) == {}
    assert named_anomalies(str(tmp_path / "gone")) == []
