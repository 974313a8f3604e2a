"""What batch inference leaves: `masks-SSSSS-of-NNNNN.tfrecord` and `manifest.json`.

A record is a `tf.train.Example` of `filename`, `height` and `width` (the photo's own) and `mask_png`, a one-channel PNG
of class ids at the model's size. Records are sorted by name, so the same masks are the same bytes.
"""

import os
import shutil

from pydantic import model_validator

from components.errors import UsageError
from components.ingest.spans import MANIFEST, Record, Shard, file_sha256, file_size, read_record, write_record


class MaskManifest(Record):
    """What a folder of masks holds and where it came from; one that does not add up is none.

    Attributes:
      source: the span or the folder of photos.
      model_version: the live version of then. `run_id`: the run that trained it.
      classes: names in the order of the ids.
      photos_found: the sum of the shards' records and of those skipped.
      skipped: file name -> why it could not be read.
      shards: in order.
    """

    format: int = 1
    source: str
    model_version: int
    run_id: str
    classes: list[str]
    photos_found: int
    skipped: dict[str, str]
    shards: list[Shard]

    @model_validator(mode="after")
    def _nothing_is_lost(self) -> "MaskManifest":
        if self.photos_found != self.records + len(self.skipped):
            found, made, skipped = self.photos_found, self.records, len(self.skipped)
            raise ValueError(f"{found} photos were found, but {made} masks and {skipped} skipped photos are listed")
        return self

    @property
    def records(self) -> int:
        return sum(shard.examples for shard in self.shards)


def exported_before(output: str) -> MaskManifest | None:
    """The manifest of the masks that lie in a folder; None if there are none.

    Raises:
      UsageError: if it is no folder, or its `manifest.json` is another program's.
    """
    if os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"--output {output}: is a file; name a folder")
    path = os.path.join(output, MANIFEST)
    if not os.path.exists(path):
        return None
    try:
        return read_record(path, MaskManifest)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--output {output}: holds a {MANIFEST} that segpipe infer did not write; name another folder"
        ) from error


def export(folder: str, output: str) -> MaskManifest:
    """Copies masks to where the user wants them.

    The manifest goes first and comes last, so a folder with one is whole; shards of an earlier export that this one
    has not are removed, and what is there already is not written again.

    Args:
      folder: of a MaskRecords artifact.
      output: made where it is missing.
    """
    manifest, before = read_record(os.path.join(folder, MANIFEST), MaskManifest), exported_before(output)
    if before == manifest and all(_is_whole(output, shard) for shard in manifest.shards):
        return manifest
    os.makedirs(output, exist_ok=True)
    if before is not None:
        os.remove(os.path.join(output, MANIFEST))
        for name in {shard.name for shard in before.shards} - {shard.name for shard in manifest.shards}:
            if os.path.exists(os.path.join(output, name)):
                os.remove(os.path.join(output, name))
    for shard in manifest.shards:
        target = os.path.join(output, shard.name)
        shutil.copyfile(os.path.join(folder, shard.name), target + ".part")
        os.replace(target + ".part", target)
    write_record(os.path.join(output, MANIFEST + ".part"), manifest)
    os.replace(os.path.join(output, MANIFEST + ".part"), os.path.join(output, MANIFEST))
    return manifest


def _is_whole(output: str, shard: Shard) -> bool:
    path = os.path.join(output, shard.name)
    return file_size(path) == shard.bytes and file_sha256(path) == shard.sha256
