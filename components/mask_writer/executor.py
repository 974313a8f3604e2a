"""Strips BulkInferrer's examples, which still hold the photos, down to the masks, and counts that none is missing."""

import glob
import json
import os
from collections import Counter
from collections.abc import Iterator

import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.types import Artifact, artifact_utils
from tfx.utils import path_utils

from components.errors import SegpipeError
from components.ingest.examples import to_example
from components.ingest.spans import MANIFEST, Shard, file_sha256, read_record, write_record
from components.mask_writer.records import MaskManifest
from components.photo_example_gen.executor import SKIPPED, Skipped
from trainer.features import DESCRIPTION, FILENAME, HEIGHT, MASK_PNG, WIDTH, FeatureSpec

_RECORDS_PER_SHARD = 1000


class Executor(base_executor.BaseExecutor):
    """Executor of MaskWriter."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes the shards and the manifest.

        Raises:
          SegpipeError: if the masks are not those of the photos, each once.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        asked = Counter(_value(example, FILENAME) for example in _examples(examples))
        masks = {}
        answered = Counter()
        for example in _examples(artifact_utils.get_single_instance(input_dict["predictions"])):
            name = _value(example, FILENAME)
            answered[name] += 1
            values = {key: _value(example, key) for key in (FILENAME, HEIGHT, WIDTH, MASK_PNG)}
            masks[name] = to_example(values).SerializeToString(deterministic=True)
        if asked != answered:
            strange = min((asked - answered) or (answered - asked)).decode(errors="replace")
            raise SegpipeError(
                f"{asked.total()} photos went into batch inference and {answered.total()} masks came out (the first "
                f"that differs is {strange}); run the command again"
            )
        folder = artifact_utils.get_single_uri(output_dict["masks"])
        os.makedirs(folder, exist_ok=True)
        skipped = _skipped(examples)
        description = _description(input_dict["model"])
        manifest = MaskManifest(
            source=exec_properties["source"],
            model_version=int(exec_properties["model_version"]),
            run_id=description["run_id"],
            classes=FeatureSpec.model_validate(description["feature_spec"]).class_names,
            photos_found=asked.total() + len(skipped),
            skipped=skipped,
            shards=_write_shards([masks[name] for name in sorted(masks)], folder),
        )
        write_record(os.path.join(folder, MANIFEST), manifest)


def _write_shards(records: list[bytes], folder: str) -> list[Shard]:
    """Writes serialised records in their order, at most 1,000 a file; at least one file."""
    count = max(1, -(-len(records) // _RECORDS_PER_SHARD))
    shards = []
    for index in range(count):
        chunk = records[index * _RECORDS_PER_SHARD : (index + 1) * _RECORDS_PER_SHARD]
        path = os.path.join(folder, f"masks-{index:05d}-of-{count:05d}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for record in chunk:
                writer.write(record)
        name, size = os.path.basename(path), os.path.getsize(path)
        shards.append(Shard(name=name, examples=len(chunk), bytes=size, sha256=file_sha256(path)))
    return shards


def _examples(artifact: Artifact) -> Iterator[tf.train.Example]:
    for split in artifact_utils.decode_split_names(artifact.split_names):
        for path in sorted(glob.glob(os.path.join(artifact_utils.get_split_uri([artifact], split), "*"))):
            compression = "GZIP" if path.endswith(".gz") else ""
            for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
                yield tf.train.Example.FromString(record)


def _value(example: tf.train.Example, name: str) -> bytes | int:
    feature = example.features.feature[name]
    (value,) = getattr(feature, feature.WhichOneof("kind")).value
    return value


def _skipped(examples: Artifact) -> dict[str, str]:
    path = os.path.join(examples.uri, SKIPPED)
    return read_record(path, Skipped).photos if os.path.isfile(path) else {}


def _description(model: list[Artifact]) -> dict:
    path = os.path.join(path_utils.serving_model_path(artifact_utils.get_single_uri(model)), DESCRIPTION)
    with open(path, encoding="utf-8") as file:
        return json.load(file)
