"""Export of masks: whole or without a manifest, and nothing of another program is touched."""

import hashlib
import os
from pathlib import Path

import pytest

from components.errors import UsageError
from components.ingest.spans import Shard, write_record
from components.mask_writer.records import MaskManifest, export, exported_before


def masks(folder: Path, *contents: bytes, version: int = 1) -> Path:
    """What MaskWriter leaves, a shard per content."""
    folder.mkdir()
    shards = []
    for index, content in enumerate(contents):
        name = f"masks-{index:05d}-of-{len(contents):05d}.tfrecord"
        (folder / name).write_bytes(content)
        shards.append(Shard(name=name, examples=1, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
    manifest = MaskManifest(
        source="span 1", model_version=version, run_id="r", classes=["a", "b"], photos_found=len(contents), skipped={},
        shards=shards,
    )  # fmt: skip
    write_record(str(folder / "manifest.json"), manifest)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_and_manifest_arrive_as_they_were(tmp_path):
    made = masks(tmp_path / "made", b"one", b"two")
    manifest = export(str(made), str(tmp_path / "new" / "output"))
    assert contents(tmp_path / "new" / "output") == contents(made)
    assert (manifest.records, manifest.model_version) == (2, 1)


def test_an_export_that_is_there_is_not_written_again(tmp_path):
    made, output = masks(tmp_path / "made", b"one"), tmp_path / "output"
    export(str(made), str(output))
    os.utime(output / "masks-00000-of-00001.tfrecord", (1, 1))
    export(str(made), str(output))
    assert (output / "masks-00000-of-00001.tfrecord").stat().st_mtime == 1


def test_a_damaged_export_is_mended(tmp_path):
    made, output = masks(tmp_path / "made", b"one"), tmp_path / "output"
    export(str(made), str(output))
    (output / "masks-00000-of-00001.tfrecord").write_bytes(b"eno")
    export(str(made), str(output))
    assert contents(output) == contents(made)


def test_another_export_replaces_the_one_before_and_leaves_other_files_alone(tmp_path):
    output = tmp_path / "output"
    export(str(masks(tmp_path / "old", b"one", b"two")), str(output))
    (output / "notes.txt").write_bytes(b"mine")
    new = masks(tmp_path / "new", b"three", version=2)
    export(str(new), str(output))
    assert contents(output) == contents(new) | {"notes.txt": b"mine"}


def test_a_folder_with_a_manifest_of_another_program_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "app"}')
    with pytest.raises(UsageError, match="holds a manifest.json that segpipe infer did not write"):
        exported_before(str(tmp_path))
    assert exported_before(str(tmp_path / "missing")) is None


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "masks").touch()
    with pytest.raises(UsageError, match="masks: is a file; name a folder"):
        exported_before(str(tmp_path / "masks"))


@pytest.mark.parametrize("photos_found, skipped", [(2, {}), (1, {"b.jpg": "empty_photo: zero bytes"})])
def test_a_manifest_that_does_not_add_up_is_none(photos_found, skipped):
    shard = Shard(name="masks-00000-of-00001.tfrecord", examples=1, bytes=1, sha256="0")
    facts = {"source": "span 1", "model_version": 1, "run_id": "r", "classes": ["a", "b"], "shards": [shard]}
    with pytest.raises(ValueError, match=f"{photos_found} photos were found, but 1 masks and {len(skipped)} skipped"):
        MaskManifest(photos_found=photos_found, skipped=skipped, **facts)
