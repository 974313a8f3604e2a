"""Two processes on loopback train one model as one does: the Trainer's executor in each, as a cluster starts it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts
from trainer_helpers import SPEC

from components.trainer.executor import Executor
from trainer.settings import ModelSettings, TrainingSettings
from trainer.train import CURVE
from trainer.workers import TF_CONFIG, Task, this_task

REPOSITORY = Path(__file__).parents[2]
PROCESS = """
import json, sys
from absl import logging
sys.path[:0] = ["tests", "tests/trainer"]
from test_workers import train

logging.use_absl_handler()
logging.set_verbosity(logging.INFO)
train(json.loads(sys.argv[1]))
"""
AGREEMENT = """
import numpy as np
from trainer.devices import strategy_for
from trainer.workers import Workers

workers = Workers(strategy_for("multi_worker"))
index = workers.task.index
print("chief's", workers.as_the_chief_has_it(40 + index))
print("sum", workers.total(np.array([[1, index], [2**40, 0]])).tolist())
try:
    workers.agree("photos to train on", 7 - index)
except ValueError as error:
    print(error)
workers.wait()
"""
STEPS = 40


def train(given: dict) -> None:
    """Calls the Trainer's executor as TFX does.

    Args:
      given: its properties; beside them the folders of examples and transform graph, and the one for all outputs.
    """
    properties = dict(given)
    folder = properties.pop("folder")

    def artifact(kind, uri: str) -> list:
        found = kind()
        found.uri = uri
        return [found]

    examples = artifact(standard_artifacts.Examples, properties.pop("examples"))
    examples[0].split_names = '["train", "eval"]'
    graph = artifact(standard_artifacts.TransformGraph, properties.pop("graph"))
    outputs = {
        "model": artifact(standard_artifacts.Model, folder + "/model"),
        "model_run": artifact(standard_artifacts.ModelRun, folder + "/run"),
    }
    context = BaseExecutor.Context(tmp_dir=folder, unique_id="1", pipeline_run_id="run-7")
    Executor(context).Do({"examples": examples, "transform_graph": graph}, outputs, properties)


@dataclass
class Team:
    """Processes that were started together, each with its TF_CONFIG."""

    processes: list[subprocess.Popen]

    @classmethod
    def start(cls, count: int, script: str, *arguments: str) -> "Team":
        sockets = [socket.socket() for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()
        processes = []
        for index in range(count):
            told = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", script, *arguments],
                    cwd=REPOSITORY,
                    env=os.environ | {TF_CONFIG: json.dumps(told)},
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
        return cls(processes)

    def finish(self) -> list[tuple[str, str]]:
        """Waits for all; returns what each said on standard output and standard error."""
        try:
            said = [process.communicate(timeout=300) for process in self.processes]
        finally:
            self.kill()
        for process, (_, errors) in zip(self.processes, said, strict=True):
            assert process.returncode == 0, errors[-4000:]
        return said

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def examples(transformed, tmp_path_factory) -> Path:
    """The records as an Examples artifact has them."""
    folder = tmp_path_factory.mktemp("examples")
    (records,) = Path(transformed.pattern).parent.glob(Path(transformed.pattern).name)
    for split in ("train", "eval"):
        (folder / f"Split-{split}").mkdir()
        (folder / f"Split-{split}" / records.name).symlink_to(records)
    return folder


def given(transformed, examples, folder: Path, checkpoints: Path, strategy: str, **training) -> dict:
    """What `train` takes."""
    # Without norms, whose statistics are of a process' own part of the batch, and without dropout, which draws by part.
    model = ModelSettings(name="unet", filters=4, dropout=0.0)
    # A tenth of the default's rate: Adam makes a step even of a gradient that is nothing but rounding.
    recipe = {"steps": STEPS, "batch_size": 4, "evaluations": 2, "ema_decay": 0.5, "learning_rate": 3e-4}
    recipe |= {"strategy": strategy} | training
    custom_config = {
        "feature_spec": SPEC.model_dump_json(),
        "model": model.model_dump_json(),
        "training": TrainingSettings(**recipe).model_dump_json(),
        "checkpoints": str(checkpoints),
    }
    return {
        "folder": str(folder),
        "examples": str(examples),
        "graph": transformed.graph,
        "run_fn": "trainer.train.run_fn",
        "train_args": "{}",
        "eval_args": "{}",
        "custom_config": json.dumps(custom_config),
    }


@dataclass(frozen=True)
class Result:
    """What a training left."""

    weights: dict[str, np.ndarray]
    curve: dict
    description: dict


def result(folder: Path) -> Result:
    model = folder / "model" / "Format-Serving"
    reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("weights/")]
    return Result(
        {name: reader.get_tensor(name) for name in names},
        json.loads((folder / "run" / CURVE).read_text()),
        json.loads((model / "assets.extra" / "segpipe.json").read_text()),
    )


@pytest.fixture(scope="module")
def alone(transformed, examples, tmp_path_factory) -> Result:
    folder = tmp_path_factory.mktemp("alone")
    train(given(transformed, examples, folder, folder / "checkpoints", "none"))
    return result(folder)


@dataclass(frozen=True)
class Together:
    """The result of two processes that were killed on their way and started again, and what the second two said."""

    result: Result
    said: list[str]
    checkpoints: Path


@pytest.fixture(scope="module")
def together(transformed, examples, tmp_path_factory) -> Together:
    folder = tmp_path_factory.mktemp("together")
    checkpoints = folder / "checkpoints"
    # Each execution has folders of its own; only the checkpoints are where they were.
    first = given(transformed, examples, folder / "killed", checkpoints, "multi_worker", checkpoint_seconds=0)
    _kill_after_checkpoints(Team.start(2, PROCESS, json.dumps(first)), checkpoints, 10)
    second = given(transformed, examples, folder / "resumed", checkpoints, "multi_worker")
    said = [errors for _, errors in Team.start(2, PROCESS, json.dumps(second)).finish()]
    return Together(result(folder / "resumed"), said, checkpoints)


def _kill_after_checkpoints(team: Team, checkpoints: Path, count: int) -> None:
    seen = set()
    try:
        while len(seen) < count:
            assert all(process.poll() is None for process in team.processes), "it ended before it could be killed"
            seen |= {path.stat().st_mtime_ns for path in checkpoints.glob("*.npz")}
            time.sleep(0.002)
    finally:
        team.kill()


def test_two_processes_learn_what_one_does(alone, together):
    curve, expected = together.result.curve["curve"], alone.curve["curve"]
    assert [(p["step"], p["learning_rate"]) for p in curve] == [(p["step"], p["learning_rate"]) for p in expected]
    for both, one in zip(curve, expected, strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-5)
        # Each process has counted a part of the evaluation photos.
        assert both["mean_iou"] == pytest.approx(one["mean_iou"], abs=1e-3)
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert together.result.weights.keys() == alone.weights.keys()
    for name, weights in together.result.weights.items():
        np.testing.assert_allclose(weights, alone.weights[name], atol=1e-5, err_msg=name)


def test_killed_processes_go_on_where_they_were(together):
    steps = [re.search(rf"resumed at step (\d+) of {STEPS}", said) for said in together.said]
    assert steps[0][1] == steps[1][1] and 10 <= int(steps[0][1]) < STEPS
    assert not list(together.checkpoints.iterdir())


def test_the_first_process_alone_writes(together):
    description = together.result.description
    assert (description["run_id"], description["steps"]) == ("run-7", STEPS)
    chief, other = together.said
    assert f"step {STEPS} of {STEPS}: loss" in chief
    assert f"step {STEPS} of {STEPS}: loss" not in other


def test_the_chief_decides_and_whoever_has_other_files_is_told():
    chief, other = (said.splitlines() for said, _ in Team.start(2, AGREEMENT).finish())
    agreed = ["chief's 40", f"sum {[[2, 1], [2**41, 0]]}"]
    assert chief == agreed
    assert other == [
        *agreed,
        "training.strategy multi_worker: process 1 has 6 photos to train on and the chief 7; give all processes the "
        "same files",
    ]


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        (None, None, Task(0, 1)),
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), Task(1, 2)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("chief", 0), Task(0, 3)),
        # Vertex AI writes numbers as text.
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("worker", "1"), Task(2, 3)),
    ],
)
def test_a_process_knows_its_place(monkeypatch, cluster, task, expected):
    given = {"cluster": cluster, "task": dict(zip(("type", "index"), task, strict=True))} if cluster else {}
    monkeypatch.setenv(TF_CONFIG, json.dumps(given))
    assert this_task() == expected
    assert this_task().is_chief == (expected.index == 0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "TF_CONFIG: is no JSON with a cluster and this process' task in it"),
        ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG: is no JSON with a cluster and this process' task in it"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "TF_CONFIG: is no JSON"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
            "TF_CONFIG: 'ps' takes no part in a training; name a chief and workers alone",
        ),
    ],
)
def test_a_wrong_cluster_is_told_in_a_sentence(monkeypatch, given, told):
    monkeypatch.setenv(TF_CONFIG, given)
    with pytest.raises(ValueError, match=told):
        this_task()
