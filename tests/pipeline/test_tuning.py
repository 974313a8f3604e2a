"""What `run --tuned` takes from `tuned.yaml`."""

import pytest
import yaml

from components.errors import UsageError
from pipeline.config import Config
from pipeline.tuning import _write_tuned, with_tuned
from pipeline.workspace import Workspace

BEST = {"training.learning_rate": 0.0042, "training.augment.rotation": 3.0, "model.filters": 24}


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace.at(str(tmp_path))


def test_what_was_written_is_taken_and_the_rest_of_the_config_stays(workspace):
    _write_tuned(workspace.tuned, BEST, "the best of 3 trials")
    config = Config(training={"steps": 7, "learning_rate": 0.001}, gate={"min_mean_iou": 0.1})
    tuned, taken = with_tuned(config, workspace)
    assert (tuned.training.learning_rate, tuned.training.augment.rotation, tuned.model.filters) == (0.0042, 3.0, 24)
    assert (tuned.training.steps, tuned.gate) == (7, config.gate)
    assert taken == {
        "model.filters": (None, 24),
        "training.augment.rotation": (20.0, 3.0),
        "training.learning_rate": (0.001, 0.0042),
    }


def test_the_file_is_a_piece_of_a_config(workspace):
    _write_tuned(workspace.tuned, BEST, "the best of 3 trials")
    with open(workspace.tuned) as file:
        assert file.readline() == "# the best of 3 trials\n"
        assert Config.model_validate(yaml.safe_load(file)).training.learning_rate == 0.0042


def test_without_a_search_the_mend_is_named(workspace):
    with pytest.raises(UsageError, match="tuned.yaml does not exist; run segpipe tune --workspace"):
        with_tuned(Config(), workspace)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("training: {learning_rat: 1}", "training.learning_rat is no setting"),
        ("training: {learning_rate: fast}", "training.learning_rate 'fast': .*valid number"),
        ("training: [", "while parsing"),
        ("[1, 2]", "holds no mapping"),
    ],
)
def test_a_file_that_no_search_wrote_is_named(workspace, text, problem):
    with open(workspace.tuned, "w") as file:
        file.write(text)
    with pytest.raises(UsageError, match=f"tuned.yaml: .*{problem}.*; run segpipe tune again"):
        with_tuned(Config(), workspace)
