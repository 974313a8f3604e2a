"""The serving folder: versions only grow, and nobody ever sees half of one."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from components.errors import SegpipeError
from components.pusher.versions import check_whole, list_versions, live_version, origin, publish, read_pushed

FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"index", "variables/variables.data": b"x" * 5000}


@pytest.fixture
def model(tmp_path) -> Path:
    """What a SavedModel looks like on disk; publishing copies files and knows no more."""
    folder = tmp_path / "model"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def is_whole(version: Path) -> bool:
    return all((version / n).is_file() and (version / n).read_bytes() == content for n, content in FILES.items())


def test_a_published_version_is_the_model_and_says_where_it_came_from(tmp_path, model):
    serving = tmp_path / "a" / "serving_model"
    version = publish(str(model), str(serving), "/root/Trainer/model/7")
    published = {str(p.relative_to(serving / str(version))): p.read_bytes() for p in serving.rglob("*") if p.is_file()}
    published.pop("assets.extra/pushed.json")
    assert published == FILES
    assert origin(str(serving), version) == "/root/Trainer/model/7"
    assert os.listdir(serving) == [str(version)]


def test_the_model_that_was_published_is_not_touched(tmp_path, model):
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    publish(str(model), str(tmp_path / "serving"), "m")
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before


def test_the_first_version_is_the_time_so_that_folders_never_share_one(tmp_path, model):
    before = int(time.time())
    assert before <= publish(str(model), str(tmp_path / "serving"), "m") <= int(time.time())


def test_versions_grow_within_a_second(tmp_path, model):
    versions = [publish(str(model), str(tmp_path / "serving"), "m") for _ in range(5)]
    assert versions == sorted(set(versions))
    assert list_versions(str(tmp_path / "serving")) == versions


@pytest.mark.parametrize("highest", [4_000_000_000, 99_999_999_999])
def test_versions_grow_when_the_clock_is_behind_the_highest(tmp_path, model, highest):
    serving = tmp_path / "serving"
    (serving / "5").mkdir(parents=True)
    (serving / str(highest)).mkdir()
    assert publish(str(model), str(serving), "m") == highest + 1
    assert live_version(str(serving)) == highest + 1


def test_only_numbers_are_versions_and_the_highest_is_live(tmp_path):
    for name in ("9", "10", ".pushing-abc", "12.part", "latest", "-3"):
        (tmp_path / name).mkdir()
    assert (list_versions(str(tmp_path)), live_version(str(tmp_path))) == ([9, 10], 10)


@pytest.mark.parametrize("serving", ["missing", "."])
def test_an_empty_or_missing_folder_serves_nothing(tmp_path, serving):
    assert (list_versions(str(tmp_path / serving)), live_version(str(tmp_path / serving))) == ([], None)


def test_a_version_that_somebody_copied_by_hand_has_no_origin(tmp_path, model):
    shutil.copytree(model, tmp_path / "serving" / "3")
    assert origin(str(tmp_path / "serving"), 3) is None


@pytest.mark.parametrize("obstacle", [os.mkfifo, lambda path: os.symlink("nowhere", path)], ids=["pipe", "broken link"])
def test_a_copy_that_fails_leaves_nothing_and_the_old_version_live(tmp_path, model, obstacle):
    serving = str(tmp_path / "serving")
    live = publish(str(model), serving, "old")
    obstacle(model / "zz_cannot_be_copied")
    with pytest.raises(shutil.Error):
        publish(str(model), serving, "new")
    assert os.listdir(serving) == [str(live)]


def test_a_model_that_is_gone_publishes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        publish(str(tmp_path / "gone"), str(tmp_path / "serving"), "m")
    assert os.listdir(tmp_path / "serving") == []


_looks: list = []


def _before_each_step(event: str, _: tuple) -> None:
    if _looks:
        # A look opens files too; taken off the list, it does not watch itself.
        look = _looks.pop()
        look(event)
        _looks.append(look)


sys.addaudithook(_before_each_step)


def test_a_reader_sees_a_version_whole_or_not_at_all(tmp_path, model):
    """Looks before each file operation: every state in which a reader, or a crash, can meet the folder."""
    serving, seen = tmp_path / "serving", []

    def look(event: str) -> None:
        for number in list_versions(str(serving)):
            version = serving / str(number)
            seen.append((event, is_whole(version)))

    _looks.append(look)
    try:
        publish(str(model), str(serving), "m")
        publish(str(model), str(serving), "m")
    finally:
        _looks.clear()
    # The second publishing was watched while the first version was there, so this saw something.
    assert {event for event, _ in seen} >= {"open", "os.rename"}
    assert all(whole for _, whole in seen)


def test_what_a_killed_push_left_is_cleared_away_by_the_next(tmp_path, model):
    serving = tmp_path / "serving"
    (serving / ".pushing-half" / "model").mkdir(parents=True)
    version = publish(str(model), str(serving), "m")
    assert os.listdir(serving) == [str(version)]


def test_a_version_knows_the_hash_of_each_of_its_files(tmp_path, model):
    version = publish(str(model), str(tmp_path), "m")
    check_whole(str(tmp_path), version)
    files = read_pushed(str(tmp_path), version).files
    assert files == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.mark.parametrize(
    "damage",
    [
        lambda version: (version / "saved_model.pb").unlink(),
        lambda version: (version / "saved_model.pb").write_bytes(b"other"),
        lambda version: os.truncate(version / "variables" / "variables.data", 4999),
        lambda version: (version / "variables" / "more").write_bytes(b""),
    ],
    ids=["missing", "altered", "cut off", "more"],
)
def test_a_version_that_is_not_as_it_was_pushed_is_damaged(tmp_path, model, damage):
    version = publish(str(model), str(tmp_path), "m")
    damage(tmp_path / str(version))
    with pytest.raises(SegpipeError, match=f"^{tmp_path}/{version}/.*, so the version is damaged; choose another one"):
        check_whole(str(tmp_path), version)


@pytest.mark.parametrize("record", [None, "{", '{"origin": "m"}', '{"origin": 3}'])
def test_a_version_without_hashes_cannot_be_told_whole(tmp_path, model, record):
    version = publish(str(model), str(tmp_path), "m")
    path = tmp_path / str(version) / "assets.extra" / "pushed.json"
    path.unlink() if record is None else path.write_text(record)
    with pytest.raises(SegpipeError, match="holds no assets.extra/pushed.json that tells whether it is whole"):
        check_whole(str(tmp_path), version)
