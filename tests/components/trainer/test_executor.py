"""SegmentationTrainer's executor with a real `run_fn` by its dotted name, as TFX calls it."""

import json
from pathlib import Path

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts

from components.trainer.executor import Executor
from trainer.features import DESCRIPTION


def run_fn(fn_args):
    """Exports a description alone."""
    path = Path(fn_args.serving_model_dir, DESCRIPTION)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"steps": 3}))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The description after a run by the name of `run-7`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    model, model_run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, model_run.uri = str(tmp_path / "model"), str(tmp_path / "model_run")
    properties = {
        "run_fn": "test_executor.run_fn",
        "train_args": "{}",
        "eval_args": "{}",
        "custom_config": json.dumps({}),
    }
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(tmp_path / "examples"), '["train", "eval"]'
    context = BaseExecutor.Context(tmp_dir=str(tmp_path), unique_id="1", pipeline_run_id="run-7")
    Executor(context).Do({"examples": [examples]}, {"model": [model], "model_run": [model_run]}, properties)
    return json.loads(Path(model.uri, "Format-Serving", DESCRIPTION).read_text())


def test_the_export_knows_the_run_that_trained_it(trained):
    assert trained == {"steps": 3, "run_id": "run-7"}
