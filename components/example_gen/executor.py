"""Copies the shards of a window into the Examples artifact and checks each against its span's manifest.

A shard is a TFRecord file of finished examples, so reading and writing each record again would only cost time.
"""

import os

from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.errors import SegpipeError
from components.example_gen.window import read_window
from components.ingest.sources import SPLITS
from components.ingest.spans import MANIFEST, Manifest, file_sha256, read_record


class Executor(base_executor.BaseExecutor):
    """Executor of SpanExampleGen."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Copies each split's shards.

        Raises:
          SegpipeError: if a shard is not what its manifest says.
        """
        window = read_window(exec_properties["window"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples.set_int_custom_property("span", window.spans[-1].number)
        for split in SPLITS:
            shards = []
            for span in window.of_split(split):
                manifest = read_record(os.path.join(span.folder, MANIFEST), Manifest)
                shards += [(os.path.join(span.folder, shard.name), shard.sha256) for shard in manifest.splits[split]]
            folder = artifact_utils.get_split_uri([examples], split)
            fileio.makedirs(folder)
            for index, (source, sha256) in enumerate(shards):
                copy = os.path.join(folder, f"examples-{index:05d}-of-{len(shards):05d}.tfrecord")
                fileio.copy(source, copy)
                if file_sha256(copy) != sha256:
                    raise SegpipeError(f"{source}: is not the file that its manifest lists; ingest the span again")
