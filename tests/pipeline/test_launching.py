"""What TFX's launcher runs within."""

import apache_beam as beam
import google_crc32c
import tensorflow as tf
from apache_beam.io import tfrecordio

from pipeline.launching import take_fast_checksums


def test_beam_writes_checksums_that_tensorflow_takes_and_writes_them_fast(tmp_path):
    take_fast_checksums()
    assert tfrecordio._default_crc32c_fn.fn is google_crc32c.value
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create([b"one", b"two" * 10_000]) | beam.io.WriteToTFRecord(str(tmp_path / "records"))
    records = tf.data.TFRecordDataset([str(path) for path in tmp_path.iterdir()])
    assert sorted(records.as_numpy_iterator()) == [b"one", b"two" * 10_000]
