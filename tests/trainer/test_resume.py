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

from trainer.settings import ModelSettings, TrainingSettings
from trainer.train import CURVE, run_fn

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
            "model": ModelSettings(filters=4).model_dump_json(),
            "training": TrainingSettings(**recipe).model_dump_json(),
            "checkpoints": str(checkpoints),
        },
    }


def kill_after_checkpoints(given: dict, checkpoints: Path, count: int) -> None:
    """Runs a training in a process of its own and kills it when it has written some more checkpoints."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, json.dumps(given)], cwd=REPOSITORY)
    seen = {path.stat().st_mtime_ns for path in checkpoints.glob("*.npz")}
    most = len(seen) + count
    while len(seen) < most:
        assert process.poll() is None, "it ended before it could be killed"
        seen |= {path.stat().st_mtime_ns for path in checkpoints.glob("*.npz")}
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def result(folder: Path) -> tuple[dict[str, bytes], dict]:
    reader = tf.train.load_checkpoint(str(folder / "serving" / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("weights/")]
    return {name: reader.get_tensor(name) for name in names}, json.loads((folder / "run" / CURVE).read_text())


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


@pytest.fixture
def interrupted(transformed, tmp_path):
    """Runs a training up to the second point of its curve, where it fails; returns the folder of checkpoints."""

    def run(**training) -> Path:
        from trainer import train

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


def test_minutes_keep_the_steps_that_they_were_first_turned_into(transformed, tmp_path, interrupted):
    given = {"minutes": 0.02, "checkpoint_seconds": 0}
    checkpoints = interrupted(**given)
    (path,) = checkpoints.iterdir()
    planned = json.loads(str(np.load(path)["facts"]))["steps"]
    from trainer.loop import Learner

    with pytest.MonkeyPatch.context() as patch:
        # As if the machine were slower now.
        patch.setattr(Learner, "steps_for", lambda *_: planned // 2)
        run_fn(FnArgs(**arguments(transformed, tmp_path / "resumed", checkpoints, **given)))
    facts = json.loads((tmp_path / "resumed" / "run" / CURVE).read_text())
    assert facts["steps"] == facts["curve"][-1]["step"] == planned


def test_another_recipe_does_not_go_on_where_this_one_was(transformed, tmp_path, interrupted, caplog):
    checkpoints = interrupted(steps=4, checkpoint_seconds=0)
    with caplog.at_level("INFO", logger="absl"):
        run_fn(FnArgs(**arguments(transformed, tmp_path / "other", checkpoints, steps=4, seed=18)))
    assert "resumed" not in caplog.text
    # The other's checkpoint waits for when it is asked for again.
    assert len(os.listdir(checkpoints)) == 1


def test_a_damaged_checkpoint_costs_the_work_but_not_the_run(transformed, tmp_path, interrupted, caplog):
    checkpoints = interrupted(steps=4, checkpoint_seconds=0)
    (path,) = checkpoints.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level("INFO", logger="absl"):
        run_fn(FnArgs(**arguments(transformed, tmp_path / "afresh", checkpoints, steps=4)))
    assert "training starts afresh" in caplog.text and "resumed" not in caplog.text
    run_fn(FnArgs(**arguments(transformed, tmp_path / "undisturbed", tmp_path / "others", steps=4)))
    assert_equal(tmp_path / "afresh", tmp_path / "undisturbed")


def test_tensorboard_shows_the_whole_curve_of_a_resumed_training(transformed, tmp_path, interrupted):
    checkpoints = interrupted(steps=4, checkpoint_seconds=0)
    run_fn(FnArgs(**arguments(transformed, tmp_path / "resumed", checkpoints, steps=4)))
    (events,) = (tmp_path / "resumed" / "run").glob("*tfevents*")
    steps = {tf.compat.v1.Event.FromString(r.numpy()).step for r in tf.data.TFRecordDataset(str(events))}
    assert steps >= {1, 2, 3, 4}
