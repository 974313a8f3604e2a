"""What differs from its inventory is found, and what does not costs little reading."""

import json
import os

import pytest

from pipeline.inventory import Comparison, take_inventory


@pytest.fixture
def folder(tmp_path):
    """An artifact of three files: 1,000, 2,000 and 4,000 bytes."""
    folder = tmp_path / "artifact"
    for size, name in enumerate(("a", "Split-train/b", "Split-train/c")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([size]) * (1000 << size))
    return folder


def _rewritten_in_place(path, keep_time: bool) -> None:
    """One other byte, the same size."""
    time = path.stat()
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(time.st_atime_ns, time.st_mtime_ns + (0 if keep_time else 1)))


def test_a_folder_agrees_with_its_own_inventory(folder):
    assert Comparison().difference(str(folder), take_inventory(str(folder))) is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: os.truncate(path, 1999), "has 1999 bytes, not 2000"),
        (lambda path: os.truncate(path, 0), "has 0 bytes, not 2000"),
        (lambda path: path.write_bytes(path.read_bytes() * 2), "has 4000 bytes, not 2000"),
        (lambda path: path.unlink(), "is gone"),
        (lambda path: _rewritten_in_place(path, keep_time=False), "has other content than was written"),
        (lambda path: _rewritten_in_place(path, keep_time=True), "has other content than was written"),
    ],
    ids=["cut", "emptied", "grown", "removed", "rewritten", "rotten"],
)
def test_damage_is_named(folder, damage, told):
    inventory = take_inventory(str(folder))
    damage(folder / "Split-train" / "b")
    assert Comparison().difference(str(folder), inventory) == f"{folder}/Split-train/b {told}"


def test_a_file_with_the_same_content_under_another_time_is_whole(folder):
    inventory = take_inventory(str(folder))
    os.utime(folder / "a")
    assert Comparison(hashed_bytes=0).difference(str(folder), inventory) is None


def test_files_that_were_added_count_for_nothing(folder):
    inventory = take_inventory(str(folder))
    (folder / ".DS_Store").write_bytes(b"x")
    assert Comparison().difference(str(folder), inventory) is None


def test_the_budget_goes_to_the_smallest_files(folder):
    hashes = {name: entry[2] for name, entry in json.loads(take_inventory(str(folder), hashed_bytes=3500)).items()}
    assert [name for name, digest in hashes.items() if digest is None] == ["Split-train/c"]


def test_beyond_the_budget_size_and_time_decide(folder):
    inventory = take_inventory(str(folder), hashed_bytes=3500)
    _rewritten_in_place(folder / "Split-train" / "c", keep_time=True)
    assert Comparison().difference(str(folder), inventory) is None
    os.utime(folder / "Split-train" / "c")
    assert Comparison().difference(str(folder), inventory) == f"{folder}/Split-train/c was written to"


def test_a_comparison_reads_no_more_than_its_budget_of_what_looks_unchanged(folder):
    inventory = take_inventory(str(folder))
    for name in ("a", "Split-train/c"):
        _rewritten_in_place(folder / name, keep_time=True)
    # The budget is enough for the first file alone.
    assert Comparison(hashed_bytes=1500).difference(str(folder), inventory).startswith(f"{folder}/")
    (folder / "a").write_bytes(b"\0" * 1000)
    assert Comparison(hashed_bytes=1500).difference(str(folder), inventory) is None
