"""Records on their way through Beam: batches that fit into memory, checksums that others take."""

from types import SimpleNamespace

import apache_beam as beam
import google_crc32c
import pytest
import tensorflow as tf
from apache_beam.io import tfrecordio
from tfx.orchestration.portable.launcher import Launcher
from tfx_bsl.coders.batch_util import BatchRecords

from pipeline.launching import InventoryLauncher
from pipeline.record_io import prepare_record_io

MB = 1 << 20


@pytest.fixture(autouse=True)
def prepared():
    prepare_record_io()


def batches_of(records: list[bytes], path) -> list[list[int]]:
    """The sizes of the records of each batch."""
    with beam.Pipeline() as pipeline:
        batches = pipeline | beam.Create([records]) | beam.FlatMap(lambda all_: all_) | BatchRecords(None, ["test"])
        _ = (
            batches
            | beam.Map(lambda batch: " ".join(str(len(record)) for record in batch))
            | beam.io.WriteToText(str(path))
        )
    return [[int(size) for size in line.split()] for file in path.parent.iterdir() for line in file.open()]


def test_a_batch_of_small_records_has_64_of_them(tmp_path):
    assert sorted(map(len, batches_of([b"small"] * 300, tmp_path / "batches"))) == [44, 64, 64, 64, 64]


def test_a_batch_of_large_records_holds_20_mib(tmp_path):
    batches = batches_of([bytes(5 * MB)] * 10, tmp_path / "batches")
    assert sum(map(len, batches)) == 10
    assert all(sum(batch) <= 20 * MB for batch in batches)


def test_every_node_is_launched_with_it(monkeypatch):
    monkeypatch.setattr(tfrecordio._default_crc32c_fn, "fn", None)
    monkeypatch.setattr(Launcher, "_run_executor", lambda self, info: tfrecordio._default_crc32c_fn.fn)
    launcher = object.__new__(InventoryLauncher)
    assert launcher._run_executor(SimpleNamespace(output_dict={})) is google_crc32c.value


def test_tensorflow_takes_the_checksums(tmp_path):
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create([b"one", b"two" * 10_000]) | beam.io.WriteToTFRecord(str(tmp_path / "records"))
    records = tf.data.TFRecordDataset([str(path) for path in tmp_path.iterdir()])
    assert sorted(records.as_numpy_iterator()) == [b"one", b"two" * 10_000]
