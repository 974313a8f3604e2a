"""Checkpoints: whole or not at all, whatever happens while one is written."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from trainer.checkpoint import Checkpoint, Progress, content_key

REPOSITORY = Path(__file__).parents[2]
CURVE = [{"step": 5, "loss": 0.1 + 0.2, "mean_iou": 1 / 3}]


def variables(value: float = 0.0) -> list[keras.Variable]:
    """A matrix of floats, a step counter and a dropout's seed."""
    return [
        keras.Variable(np.full([3, 4], value, np.float32)),
        keras.Variable(int(value), dtype="int64"),
        keras.Variable(np.array([value, 2**32 - 1]), dtype="uint32"),
    ]


def values(held: list[keras.Variable]) -> list[list]:
    return [variable.numpy().tolist() for variable in held]


@pytest.fixture
def saved(tmp_path) -> Checkpoint:
    checkpoint = Checkpoint(str(tmp_path), "mine", seconds=60)
    checkpoint.save(variables(7), Progress(20, 8, CURVE, [np.float32(0.1), np.float32(1 / 3)]))
    return checkpoint


def test_what_was_saved_comes_back_to_the_last_bit(saved):
    restored = variables()
    progress = saved.restore(restored)
    assert values(restored) == values(variables(7))
    assert progress == Progress(20, 8, CURVE, [np.float32(0.1), np.float32(1 / 3)])
    # A mean of float32 differs from one of the same numbers as float64.
    assert {loss.dtype for loss in progress.losses} == {np.dtype(np.float32)}


def test_a_later_checkpoint_takes_the_place_of_the_earlier(saved, tmp_path):
    saved.save(variables(9), Progress(20, 12))
    restored = variables()
    assert saved.restore(restored).step == 12
    assert values(restored) == values(variables(9))
    assert os.listdir(tmp_path) == ["mine.npz"]


def test_no_checkpoint_no_progress(tmp_path):
    held = variables(3)
    assert Checkpoint(str(tmp_path / "new"), "mine", 60).restore(held) is None
    assert values(held) == values(variables(3))


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _altered(content: bytes) -> bytes:
    # In the last number of the last array, far from any header.
    place = content.rindex(np.float32(1 / 3).tobytes())
    return content[:place] + b"\x00" + content[place + 1 :]


@pytest.mark.parametrize("damage", [_cut, _altered, lambda _: b"", lambda _: b"no checkpoint at all"])
def test_a_damaged_checkpoint_is_reported_and_changes_nothing(saved, tmp_path, damage, caplog):
    path = tmp_path / "mine.npz"
    path.write_bytes(damage(path.read_bytes()))
    held = variables(3)
    with caplog.at_level("INFO", logger="absl"):
        assert saved.restore(held) is None
    assert values(held) == values(variables(3))
    (record,) = caplog.records
    assert record.note
    assert f"{path}: cannot be used (" in record.getMessage() and "training starts afresh" in record.getMessage()


@pytest.mark.parametrize(
    "others",
    [
        variables()[:2],
        [*variables(), keras.Variable(0.0)],
        [*variables()[:2], keras.Variable([1, 2, 3], dtype="uint32")],
        [keras.Variable(np.zeros([3, 4]), dtype="float16"), *variables()[1:]],
    ],
    ids=["fewer", "more", "another shape", "another dtype"],
)
def test_the_checkpoint_of_another_net_changes_nothing(saved, others):
    before = values(others)
    assert saved.restore(others) is None
    assert values(others) == before


def test_it_is_due_when_its_seconds_have_passed_since_it_was_written(tmp_path):
    assert Checkpoint(str(tmp_path), "mine", seconds=0).is_due()
    checkpoint = Checkpoint(str(tmp_path), "mine", seconds=0.2)
    assert not checkpoint.is_due()
    time.sleep(0.25)
    assert checkpoint.is_due()
    checkpoint.save(variables(), Progress(1))
    assert not checkpoint.is_due()


def test_only_the_newest_two_of_other_trainings_are_kept(tmp_path):
    for age, key in enumerate(["mine", "a", "b", "c", "d"]):
        (tmp_path / f"{key}.npz").touch()
        os.utime(tmp_path / f"{key}.npz", (1000 + age, 1000 + age))
    mine = Checkpoint(str(tmp_path), "mine", 60)
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "d.npz", "mine.npz"]
    mine.remove()
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "d.npz"]


def test_two_runs_that_train_the_same_thing_at_once_do_not_break_each_others_checkpoint(tmp_path):
    failed = []

    def train(value: int) -> None:
        try:
            for step in range(150):
                checkpoint, held = Checkpoint(str(tmp_path), "mine", 0), variables()
                found = checkpoint.restore(held)
                # Whole, whoever wrote it: the step says with which value.
                assert found is None or values(held) == values(variables(found.step))
                checkpoint.save(variables(value), Progress(20, value))
                if step % 10 == value:
                    checkpoint.remove()
        except BaseException as error:  # noqa: BLE001, it is raised in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=train, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [name for name in os.listdir(tmp_path) if name != "mine.npz"] == []


def test_a_key_stands_for_content_in_any_order():
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert len({content_key({"a": 1}), content_key({"a": 2}), content_key(["a", 1]), content_key("a", 1)}) == 4


SAVES = """
import sys
import keras, numpy as np
from trainer.checkpoint import Checkpoint, Progress
held = [keras.Variable(np.zeros([1 << 20], np.float32)) for _ in range(4)]
checkpoint = Checkpoint(sys.argv[1], "mine", 0)
for step in range(1, 1_000_000):
    for variable in held:
        variable.assign(np.full(variable.shape, step, np.float32))
    checkpoint.save(held, Progress(1_000_000, step))
"""


def test_a_kill_while_it_is_written_leaves_a_whole_one(tmp_path):
    held = [keras.Variable(np.zeros([1 << 20], np.float32)) for _ in range(4)]
    path, before = tmp_path / "mine.npz", 0
    for pause in (0.0, 0.05, 0.13):
        # It does nothing but write, so that the kill falls into a write.
        process = subprocess.Popen([sys.executable, "-c", SAVES, str(tmp_path)], cwd=REPOSITORY)
        try:
            while not path.exists() or path.stat().st_mtime_ns == before:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(pause)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        before = path.stat().st_mtime_ns
        progress = Checkpoint(str(tmp_path), "mine", 0).restore(held)
        assert all((variable.numpy() == progress.step).all() for variable in held)
