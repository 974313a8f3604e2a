"""Shards written by the workers of a Beam pipeline: those of a cluster, or as many processes as the config says."""

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from components.ingest.settings import DataSettings
from components.ingest.shards import ShardPlan, ShardWriter
from components.watched.processes import run_watched
from trainer.features import FeatureSpec


class WriteShard(beam.DoFn):
    """Writes the shard of each `ShardPlan`."""

    def __init__(self, writer: ShardWriter):
        super().__init__()
        self._writer = writer

    def process(self, element: ShardPlan) -> None:
        self._writer.write(element)


def write_on_beam(plans: list[ShardPlan], spec: FeatureSpec, settings: DataSettings, beam_args: list[str]) -> None:
    """Runs the pipeline; `beam_args` are its options.

    Raises:
      SegpipeError: if one of Beam's processes was ended from outside.
    """
    options = PipelineOptions(beam_args)
    writer = ShardWriter(spec, settings, options.view_as(DirectOptions).direct_num_workers)

    def write() -> None:
        with beam.Pipeline(options=options) as pipeline:
            # Create spreads them over the workers.
            _ = pipeline | "Plans" >> beam.Create(plans) | "WriteShard" >> beam.ParDo(WriteShard(writer))

    run_watched(beam_args, write)
