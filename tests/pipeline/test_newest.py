"""A job follows the pointer once: what it reads stays, however far the pointer moves."""

import json

import pytest

from pipeline.newest import followed, point, pointers

ROOT = "gs://pets-bucket/segpipe"


@pytest.fixture
def root(tmp_path):
    def move(folder: str) -> None:
        point(
            str(tmp_path / "pets-bucket/segpipe"), {"window": f"data/windows/{folder}/window.json", "schema": "schema"}
        )

    move("first")
    return move


@pytest.fixture
def mounted(tmp_path):
    return lambda address: address.replace("gs://", f"{tmp_path}/")


def test_the_containers_of_a_job_read_the_same_however_far_the_pointer_moves(root, mounted):
    values = pointers(ROOT, ["window", "schema"]) | {"fingerprint": "x", "steps": 7}
    first = followed(values, "job-1", mounted)
    assert first == {
        "window": f"{ROOT}/data/windows/first/window.json",
        "schema": f"{ROOT}/schema",
        "fingerprint": "x",
        "steps": 7,
    }
    root("second")
    assert followed(values, "job-1", mounted) == first
    assert followed(values, "job-2", mounted)["window"] == f"{ROOT}/data/windows/second/window.json"


def test_of_two_that_start_at_once_the_second_reads_what_the_first_kept(root, mounted, tmp_path):
    kept = tmp_path / "pets-bucket/segpipe/runs/job-1.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps({"window": "of the first"}))
    assert followed(pointers(ROOT, ["window"]), "job-1", mounted) == {"window": f"{ROOT}/of the first"}


def test_what_is_no_pointer_stays(mounted):
    values = {"window": f"{ROOT}/data/windows/1f/window.json"}
    assert followed(values, "job-1", mounted) == values
