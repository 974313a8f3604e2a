"""Runs TFX's Transform and writes its examples as plain TFRecords.

TFX compresses them, whatever it is told. Packed float16 pixels hardly shrink: gzip saves a fifth of the bytes, takes
longer to write than photo and mask take to decode, and is read at a quarter of the rate (benchmarks/stage_speed.py).
"""

import apache_beam as beam
from tfx.components.transform import executor as tfx_executor
from tfx.components.transform import labels

from components.watched.processes import Watched


class PlainProcessor(tfx_executor.TransformProcessor):
    """TFX's work with another last step."""

    @staticmethod
    @beam.ptransform_fn
    def _EncodeAndWrite(transformed, schema, file_format, output_path):  # noqa: N802 (TFX's name)
        if file_format != labels.FORMAT_TFRECORD:
            raise NotImplementedError(f"transformed examples are written as {labels.FORMAT_TFRECORD} alone")
        return (
            transformed
            | "EncodeAndSerialize" >> beam.ParDo(tfx_executor.TransformProcessor._RecordBatchToExamplesFn(schema))
            | "ExtractExamples" >> beam.Values()
            | "WriteToTFRecord" >> beam.io.WriteToTFRecord(output_path, file_name_suffix=".tfrecord")
        )


class Executor(Watched, tfx_executor.Executor):
    """Executor of SegmentationTransform."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Transforms as TFX does."""
        # TFX's executor makes its processor by this name and offers no other way in.
        tfx_executor.TransformProcessor, theirs = PlainProcessor, tfx_executor.TransformProcessor
        try:
            super().Do(input_dict, output_dict, exec_properties)
        finally:
            tfx_executor.TransformProcessor = theirs
