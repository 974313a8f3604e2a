"""Spans on disk: which folders count, and what a manifest says when it is asked or damaged."""

import hashlib
import json
import os
import threading

import pytest

from components.errors import UsageError
from components.ingest.spans import (
    Manifest,
    Shard,
    SourceFile,
    file_sha256,
    file_size,
    list_spans,
    read_manifest,
    read_record,
    span_folder,
    write_record,
)


def manifest(**changes) -> Manifest:
    def shard(name: str, examples: int) -> Shard:
        return Shard(name=name, examples=examples, bytes=10, sha256="0" * 64)

    fields = {
        "span": 3,
        "tool_version": "1.0",
        "settings": {},
        "splits": {"train": [shard("a", 200), shard("b", 100)], "eval": [shard("c", 50)]},
        "photos_found": 353,
        "quarantined": {"no_mask": 3},
        "files_ignored": 1,
        "sources": [],
    }
    return Manifest(**(fields | changes))


def test_spans_are_listed_by_number_and_nothing_else_counts(tmp_path):
    for name in ("span-2", "span-10", "span-1", ".span-3-x1y2", "span-", "span-4.part", "spans", "windows", "span-x"):
        (tmp_path / name).mkdir()
    assert list_spans(str(tmp_path)) == [1, 2, 10]


def test_a_folder_that_is_not_there_holds_no_span(tmp_path):
    assert list_spans(str(tmp_path / "data")) == []


def test_a_manifest_counts_its_examples():
    assert (manifest().examples("train"), manifest().examples("eval"), manifest().ingested) == (300, 50, 350)


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    # A file name that is no UTF-8 reaches Python with surrogates; it must survive the JSON.
    source = SourceFile(
        photo="caf\udce9.jpg", mask=None, photo_sha256=None, mask_sha256=None, photo_bytes=7, mask_bytes=0, split=None,
        verdict="no_mask",
    )  # fmt: skip
    written = manifest(sources=[source], settings={"slice_keys": {"breed": {"^(.+)_": "\\1"}}})
    folder = tmp_path / "span-3"
    folder.mkdir()
    write_record(str(folder / "manifest.json"), written)
    assert span_folder(str(tmp_path), 3) == str(folder)
    assert read_manifest(str(tmp_path), 3) == written


def test_a_span_that_is_not_there_is_a_usage_error_that_names_those_that_are(tmp_path):
    with pytest.raises(UsageError, match=r"span 5: not in .*\(spans there: none\)"):
        read_manifest(str(tmp_path), 5)
    (tmp_path / "span-2").mkdir()
    (tmp_path / "span-7").mkdir()
    with pytest.raises(UsageError, match=r"span 5: not in .*\(spans there: 2, 7\)"):
        read_manifest(str(tmp_path), 5)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        json.dumps({"span": 1}),
        json.dumps(manifest().model_dump() | {"a field of tomorrow": 1}),
        json.dumps(manifest().model_dump() | {"photos_found": "many"}),
    ],
    ids=["empty", "half", "a list", "fields missing", "field unknown", "field of another type"],
)
def test_a_damaged_manifest_is_a_usage_error_that_names_the_file(tmp_path, content):
    (tmp_path / "span-1").mkdir()
    (tmp_path / "span-1" / "manifest.json").write_text(content)
    with pytest.raises(UsageError, match="span-1/manifest.json: is no manifest"):
        read_manifest(str(tmp_path), 1)


def test_a_record_of_another_kind_is_a_value_error(tmp_path):
    path = str(tmp_path / "shard.json")
    write_record(path, Shard(name="a", examples=1, bytes=2, sha256="x"))
    with pytest.raises(ValueError):
        read_record(path, Manifest)


def test_file_sha256_is_that_of_all_bytes_of_a_file_larger_than_one_read(tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(str(tmp_path / "file")) == hashlib.sha256(content).hexdigest()


def test_a_link_that_leads_nowhere_or_to_itself_has_no_size(tmp_path):
    for name, target in (("nowhere", "missing"), ("itself", "itself")):
        (tmp_path / name).symlink_to(tmp_path / target)
        assert file_size(str(tmp_path / name)) == 0


def test_the_size_of_a_file_that_is_moved_away_meanwhile_is_that_of_before_or_nothing(tmp_path):
    # As a span's folder is, while the progress bar adds up its shards.
    here, away, done = tmp_path / "here", tmp_path / "away", threading.Event()
    here.write_bytes(b"abc")

    def move() -> None:
        while not done.is_set():
            os.rename(here, away)
            os.rename(away, here)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        assert {file_size(str(here)) for _ in range(20_000)} <= {0, 3}
    finally:
        done.set()
        mover.join()
