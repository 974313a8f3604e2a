"""Which versions go after a push: never one that is served, would be served after a rollback, or may be loading."""

import os
import time
from pathlib import Path

import pytest

from components.pusher.retention import retire
from components.pusher.settings import RetentionSettings
from components.pusher.versions import Rollback, list_versions, live_version, origin, publish

KEEP_TWO = RetentionSettings(keep=2, grace_seconds=0)


class Serving:
    def __init__(self, folder: Path):
        self.folder, self._models = str(folder / "serving"), folder

    def push(self, name: str, **options) -> int:
        model = self._models / name
        model.mkdir(exist_ok=True)
        (model / "saved_model.pb").write_text(name)
        return publish(str(model), self.folder, name, **options)

    def roll_back(self, version: int) -> int:
        live = live_version(self.folder)
        about = {"reason": "r", "by": "b", "at": 1.0, "left": live, "left_origin": origin(self.folder, live)}
        return self.push(origin(self.folder, version), rollback=Rollback(**about, returned_to=version))

    def models(self) -> list[str]:
        return [origin(self.folder, version) for version in list_versions(self.folder)]


@pytest.fixture
def serving(tmp_path) -> Serving:
    return Serving(tmp_path)


def test_the_newest_stay_and_the_older_go(serving):
    versions = [serving.push(name) for name in "abcd"]
    assert retire(serving.folder, KEEP_TWO) == versions[:2]
    assert serving.models() == ["c", "d"]
    assert sorted(os.listdir(serving.folder)) == [str(version) for version in versions[2:]]
    assert retire(serving.folder, KEEP_TWO) == []


def test_without_a_number_all_stay(serving):
    for name in "abcd":
        serving.push(name)
    assert retire(serving.folder, RetentionSettings(grace_seconds=0)) == []
    assert serving.models() == list("abcd")


def test_what_a_rollback_would_go_to_stays_however_old(serving):
    first = serving.push("a")
    for name in "bcd":
        serving.push(name)
    serving.roll_back(first)
    # Live is a, and a second rollback would pass over d, which was left, to c.
    retire(serving.folder, KEEP_TWO)
    assert serving.models() == ["c", "d", "a"]


def test_a_version_that_was_live_until_now_stays_for_who_loads_it(serving):
    for name in "abc":
        serving.push(name)
    assert retire(serving.folder, RetentionSettings(keep=2, grace_seconds=3600)) == []
    soon = RetentionSettings(keep=2, grace_seconds=0.5)
    assert retire(serving.folder, soon) == []
    time.sleep(0.6)
    assert [origin for origin in serving.models() if retire(serving.folder, soon)] == ["a"]


def test_what_segpipe_did_not_push_stays(serving, tmp_path):
    os.makedirs(os.path.join(serving.folder, "3"))
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", os.path.join(serving.folder, "4"))
    for name in "abc":
        serving.push(name)
    retire(serving.folder, KEEP_TWO)
    assert serving.models() == [None, None, "b", "c"]
    assert (tmp_path / "elsewhere").is_dir()


def test_what_a_killed_retirement_left_is_cleared_away(serving):
    for name in "abc":
        serving.push(name)
    os.rename(os.path.join(serving.folder, str(list_versions(serving.folder)[0])), f"{serving.folder}/.retired-1")
    assert serving.models() == ["b", "c"]
    retire(serving.folder, KEEP_TWO)
    assert sorted(os.listdir(serving.folder)) == list(map(str, list_versions(serving.folder)))


@pytest.mark.parametrize("keep", [1, 0, -1])
def test_one_version_is_too_few_to_roll_back(keep):
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        RetentionSettings(keep=keep)
