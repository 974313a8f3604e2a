"""AtomicPusher's executor with real TFX artifacts: blessed models are pushed once, others never."""

import os
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.pusher import BY_HAND, ROLLED_BACK
from components.pusher.executor import LIVE, NEW_VERSION, Executor
from components.pusher.versions import Rollback, list_versions, origin, publish


def model(folder: Path, name: str) -> standard_artifacts.Model:
    """A Trainer's output as TFX lays it out."""
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder / "Trainer" / "model" / name)
    os.makedirs(artifact.uri + "/Format-Serving")
    Path(artifact.uri, "Format-Serving", "saved_model.pb").write_text(name)
    return artifact


def push(
    trained: standard_artifacts.Model, folder: Path, blessed: bool = True, **properties
) -> standard_artifacts.PushedModel:
    blessing, pushed = standard_artifacts.ModelBlessing(), standard_artifacts.PushedModel()
    blessing.set_int_custom_property("blessed", int(blessed))
    pushed.uri = trained.uri + "-pushed"
    inputs = {"model": [trained], "model_blessing": [blessing]}
    properties |= {"serving_folder": str(folder), "fingerprint": "x"}
    Executor().Do(inputs, {"pushed_model": [pushed]}, properties)
    return pushed


def version(pushed: standard_artifacts.PushedModel) -> int:
    return int(pushed.get_string_custom_property("pushed_version"))


@pytest.fixture
def serving(tmp_path) -> Path:
    return tmp_path / "serving_model"


def test_a_blessed_model_is_served_and_the_artifact_says_where(tmp_path, serving):
    trained = model(tmp_path, "1")
    pushed = push(trained, serving)
    (number,) = list_versions(str(serving))
    assert (serving / str(number) / "saved_model.pb").read_text() == "1"
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_int_custom_property(NEW_VERSION) == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(serving / str(number))
    assert version(pushed) == number
    assert origin(str(serving), number) == trained.uri


def test_a_model_without_blessing_is_not_pushed(tmp_path, serving):
    pushed = push(model(tmp_path, "1"), serving, blessed=False)
    assert not serving.exists()
    assert pushed.get_int_custom_property("pushed") == 0


def test_a_refused_model_leaves_the_live_one_alone(tmp_path, serving):
    live = version(push(model(tmp_path, "1"), serving))
    push(model(tmp_path, "2"), serving, blessed=False)
    assert list_versions(str(serving)) == [live]


def test_a_refusal_says_whether_the_model_is_live_all_the_same(tmp_path, serving):
    overruled, other = model(tmp_path, "1"), model(tmp_path, "2")
    assert push(overruled, serving, blessed=False).get_int_custom_property(LIVE) == 0
    push(overruled, serving)
    assert push(overruled, serving, blessed=False).get_int_custom_property(LIVE) == 1
    push(other, serving)
    assert push(overruled, serving, blessed=False).get_int_custom_property(LIVE) == 0


def test_the_same_model_pushed_twice_is_one_version(tmp_path, serving):
    trained = model(tmp_path, "1")
    first, second = push(trained, serving), push(trained, serving)
    assert list_versions(str(serving)) == [version(first)]
    assert (version(second), second.get_int_custom_property("pushed")) == (version(first), 1)
    assert second.get_int_custom_property(NEW_VERSION) == 0


def test_another_model_is_a_higher_version_and_the_old_one_stays(tmp_path, serving):
    versions = [version(push(model(tmp_path, name), serving)) for name in ("1", "2", "3")]
    assert versions == sorted(set(versions)) == list_versions(str(serving))
    assert [(serving / str(number) / "saved_model.pb").read_text() for number in versions] == ["1", "2", "3"]


def test_an_older_model_that_is_blessed_again_goes_live_again(tmp_path, serving):
    # TensorFlow Serving serves the highest number, so going back to a model means publishing it anew.
    old, new = model(tmp_path, "1"), model(tmp_path, "2")
    push(old, serving)
    push(new, serving)
    pushed = push(old, serving)
    assert pushed.get_int_custom_property(NEW_VERSION) == 1
    assert version(pushed) == max(list_versions(str(serving)))
    assert len(list_versions(str(serving))) == 3


def test_a_model_that_a_rollback_left_is_pushed_by_a_person_alone(tmp_path, serving):
    good, bad = model(tmp_path, "1"), model(tmp_path, "2")
    versions = [version(push(trained, serving)) for trained in (good, bad)]
    about = {"reason": "bad masks", "by": "ana", "at": 1.0, "left_origin": bad.uri}
    rollback = Rollback(**about, left=versions[1], returned_to=versions[0])
    publish(str(serving / str(versions[0])), str(serving), good.uri, rollback)
    before = list_versions(str(serving))

    again = push(bad, serving)
    assert again.get_int_custom_property("pushed") == 0
    assert again.get_string_custom_property(ROLLED_BACK) == "rolled back by ana: bad masks"
    push(model(tmp_path, "3"), serving)
    assert push(bad, serving).get_int_custom_property("pushed") == 0, "a push between does not make it forgotten"
    assert len(list_versions(str(serving))) == len(before) + 1

    pushed = push(bad, serving, **{BY_HAND: True})
    assert pushed.get_int_custom_property(NEW_VERSION) == 1
    push(good, serving)
    assert push(bad, serving).get_int_custom_property(NEW_VERSION) == 1, "the person's word stands"


def test_a_push_removes_the_versions_that_are_too_many(tmp_path, serving):
    settings = '{"keep": 2, "grace_seconds": 0}'
    versions = [version(push(model(tmp_path, name), serving, serving=settings)) for name in "1234"]
    assert list_versions(str(serving)) == versions[-2:]


def test_another_model_in_the_place_of_the_live_one_is_a_new_version(tmp_path, serving):
    # As after a database was begun anew, which counts executions from 1 again.
    trained = model(tmp_path, "1")
    first = push(trained, serving)
    Path(trained.uri, "Format-Serving", "saved_model.pb").write_text("2")
    second = push(trained, serving)
    assert second.get_int_custom_property(NEW_VERSION) == 1
    assert list_versions(str(serving)) == [version(first), version(second)]


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 0), os.remove], ids=["cut", "removed"])
def test_a_live_version_that_was_damaged_is_published_again(tmp_path, serving, damage):
    trained = model(tmp_path, "1")
    first = push(trained, serving)
    damage(serving / str(version(first)) / "saved_model.pb")
    second = push(trained, serving)
    assert second.get_int_custom_property(NEW_VERSION) == 1
    assert (serving / str(version(second)) / "saved_model.pb").read_text() == "1"
