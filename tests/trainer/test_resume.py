"""A training that was killed ends with the very weights and curve of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs
from trainer_helpers import SPEC

from trainer import train
from trainer.loop import Learner
from trainer.settings import ModelSettings, TrainingSettings
from trainer.train import CURVE, run_fn, training_key

REPOSITORY = Path(__file__).parents[2]
STEPS = 200
SCRIPT = """
import json, sys
from tfx.components.trainer.fn_args_utils import FnArgs
from trainer.train import run_fn
run_fn(FnArgs(**json.loads(sys.argv[1])))
"""


def arguments(transformed, folder, checkpoints, **training) -> dict:
    """Of one execution, which has folders of its own; only the checkpoints are where they were."""
    budget = {} if "minutes" in training else {"steps": STEPS}
    recipe = budget | {"batch_size": 3, "evaluations": 4} | training
    return {
        "train_files": [transformed.pattern],
        "eval_files": [transformed.pattern],
        "transform_output": transformed.graph,
        "serving_model_dir": str(folder / "serving"),
        "model_run_dir": str(folder / "run"),
        "custom_config": {
            "feature_spec": SPEC.model_dump_json(),
            "model": ModelSettings(filters=4, flip_average=False).model_dump_json(),
            "training": TrainingSettings(**recipe).model_dump_json(),
            "checkpoints": str(checkpoints),
        },
    }


def kill_after_checkpoints(given: dict, checkpoints: Path, count: int) -> None:
    """Runs a training in a process of its own and kills it when it has written some more checkpoints."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, json.dumps(given)], cwd=REPOSITORY)
    seen = {path.stat().st_mtime_ns for path in checkpoints.glob("*.npz")}
    most = len(seen) + count
    try:
        while len(seen) < most:
            assert process.poll() is None, "it ended before it could be killed"
            seen |= {path.stat().st_mtime_ns for path in checkpoints.glob("*.npz")}
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def result(folder: Path) -> tuple[dict[str, bytes], dict]:
    reader = tf.train.load_checkpoint(str(folder / "serving" / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("weights/")]
    return {name: reader.get_tensor(name) for name in names}, json.loads((folder / "run" / CURVE).read_text())


def curve_steps(folder: Path) -> set[int]:
    (events,) = (folder / "run").glob("*tfevents*")
    parsed = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(events))]
    return {event.step for event in parsed if event.HasField("summary")}


def assert_equal(one: Path, other: Path) -> None:
    (weights, curve), (other_weights, other_curve) = result(one), result(other)
    assert len(weights) > 50 and len(curve["curve"]) == 4
    assert curve == other_curve
    for name in weights.keys() | other_weights.keys():
        np.testing.assert_array_equal(weights[name], other_weights[name], err_msg=name)


def test_a_training_killed_twice_equals_an_undisturbed_one_bit_for_bit(transformed, tmp_path, caplog):
    checkpoints = tmp_path / "checkpoints"
    # The first kill falls between two points of the curve, so that the running losses count; so does the second.
    for attempt, count in ((1, 20), (2, 55)):
        given = arguments(transformed, tmp_path / f"killed-{attempt}", checkpoints, checkpoint_seconds=0)
        kill_after_checkpoints(given, checkpoints, count)
    with caplog.at_level("INFO", logger="absl"):
        # How often checkpoints are written is no part of what they are checkpoints of.
        run_fn(FnArgs(**arguments(transformed, tmp_path / "resumed", checkpoints)))
    (step,) = [r.args[0] for r in caplog.records if r.msg == "resumed at step %d of %d"]
    assert 75 <= step < STEPS
    assert os.listdir(checkpoints) == []
    run_fn(FnArgs(**arguments(transformed, tmp_path / "undisturbed", tmp_path / "others")))
    assert_equal(tmp_path / "resumed", tmp_path / "undisturbed")
    # TensorBoard reads this execution's folder alone, and must find the points of the earlier ones there.
    assert curve_steps(tmp_path / "resumed") == {50, 100, 150, 200}


@pytest.fixture
def interrupted(transformed, tmp_path):
    """Runs a training up to the second point of its curve, where it fails; returns the folder of checkpoints."""

    def run(**training) -> Path:
        checkpoints = tmp_path / "checkpoints"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train, "_curve_writer", _failing_at_second_point)
            with pytest.raises(InterruptedError):
                run_fn(FnArgs(**arguments(transformed, tmp_path / "first", checkpoints, **training)))
        return checkpoints

    return run


def _failing_at_second_point(folder, steps):
    points = []

    def report(step, point):
        points.append(step)
        if len(points) == 2:
            raise InterruptedError

    return report


def test_minutes_keep_the_steps_that_they_were_first_turned_into(transformed, tmp_path, interrupted, monkeypatch):
    given = {"minutes": 1, "checkpoint_seconds": 0}
    monkeypatch.setattr(Learner, "steps_for", lambda *_: 5)
    checkpoints = interrupted(**given)
    # As if the machine were slower now.
    monkeypatch.setattr(Learner, "steps_for", lambda *_: 3)
    run_fn(FnArgs(**arguments(transformed, tmp_path / "resumed", checkpoints, **given)))
    facts = json.loads((tmp_path / "resumed" / "run" / CURVE).read_text())
    assert facts["steps"] == facts["curve"][-1]["step"] == 5


def test_a_damaged_checkpoint_costs_the_work_but_not_the_run(transformed, tmp_path, interrupted, caplog):
    checkpoints = interrupted(steps=4, checkpoint_seconds=0)
    (path,) = checkpoints.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level("INFO", logger="absl"):
        run_fn(FnArgs(**arguments(transformed, tmp_path / "afresh", checkpoints, steps=4)))
    assert "training starts afresh" in caplog.text and "resumed" not in caplog.text
    assert [point["step"] for point in result(tmp_path / "afresh")[1]["curve"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"checkpoint_seconds": 1.0}, True),
        ({"seed": 18}, False),
        ({"steps": STEPS + 1}, False),
        ({"train_files": ["elsewhere/*"]}, False),
        ({"eval_files": ["elsewhere/*"]}, False),
        ({"transform_output": "elsewhere"}, False),
        ({"base_model": "a model"}, False),
        ({"hyperparameters": {"values": {"learning_rate": 0.1}}}, False),
        ({"custom_config": {"fingerprint": "of edited code"}}, False),
    ],
    ids=lambda value: str(value),
)
def test_a_checkpoint_serves_only_the_training_that_wrote_it(transformed, tmp_path, change, same):
    def key(change: dict) -> str:
        recipe = {name: value for name, value in change.items() if name in TrainingSettings.model_fields}
        given = arguments(transformed, tmp_path, tmp_path, **recipe)
        config = given["custom_config"] | change.get("custom_config", {})
        others = {name: value for name, value in change.items() if name not in recipe}
        return training_key(FnArgs(**(given | others | {"custom_config": config})))

    assert (key(change) == key({})) == same
