"""Reads the photos of a listing as ingest does; a broken one is named and skipped."""

import os

import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.errors import SegpipeError
from components.ingest.examples import to_example
from components.ingest.opening import Unreadable, file_bytes
from components.ingest.reader import upright_jpeg
from components.ingest.spans import Record, read_record, write_record
from components.photo_example_gen.listing import ListedPhoto, Listing, readable_sha256
from trainer.features import FILENAME, HEIGHT, IMAGE, WIDTH

SPLIT = "photos"
SKIPPED = "skipped.json"
_PHOTOS_PER_SHARD = 200


class Skipped(Record):
    """File name -> why it could not be read."""

    photos: dict[str, str]


class Executor(base_executor.BaseExecutor):
    """Executor of PhotoExampleGen."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes examples of `image`, `filename`, `height` and `width`, and `skipped.json` beside them.

        Raises:
          SegpipeError: if a photo changed since it was listed, or none can be read.
        """
        listing = read_record(exec_properties["listing"], Listing)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names([SPLIT])
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        folder = artifact_utils.get_split_uri([examples], SPLIT)
        os.makedirs(folder)
        skipped = {}
        count = -(-len(listing.photos) // _PHOTOS_PER_SHARD)
        for index in range(count):
            path = os.path.join(folder, f"examples-{index:05d}-of-{count:05d}.tfrecord")
            with tf.io.TFRecordWriter(path) as writer:
                for photo in listing.photos[index::count]:
                    try:
                        writer.write(_example(listing, photo).SerializeToString(deterministic=True))
                    except Unreadable as error:
                        skipped[photo.name] = str(error)
        if len(skipped) == len(listing.photos):
            name, why = next(iter(skipped.items()))
            raise SegpipeError(f"{listing.folder}: none of its photos can be read ({name}: {why}); name another folder")
        write_record(os.path.join(examples.uri, SKIPPED), Skipped(photos=skipped))


def _example(listing: Listing, photo: ListedPhoto) -> tf.train.Example:
    path = os.path.join(listing.folder, photo.name)
    if readable_sha256(path) != photo.sha256:
        raise SegpipeError(f"{path}: changed since the run was planned; run the command again")
    jpeg, pixels = upright_jpeg(file_bytes(path, "photo"), listing.max_pixels)
    name = photo.name.encode("utf-8", "surrogateescape")
    return to_example({IMAGE: jpeg, FILENAME: name, HEIGHT: pixels.shape[0], WIDTH: pixels.shape[1]})
