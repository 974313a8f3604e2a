"""A run is recorded whatever it raises, and nothing about its record changes what becomes of it."""

import os

import pytest
from tfx.proto.orchestration import pipeline_pb2

from components.errors import RefusedError
from pipeline.config import Config
from pipeline.recording import recording
from pipeline.run_setup import SETUP, read_setup
from pipeline.workspace import Workspace


class Runner:
    """A runner as far as `recording` knows one."""

    def __init__(self, error: Exception | None = None):
        self.error, self.ran = error, []

    def run_with_ir(self, pipeline):
        self.ran.append(pipeline)
        if self.error:
            raise self.error


def run(workspace: Workspace, error: Exception | None = None) -> None:
    with recording(Config(), workspace, "local", "run.log") as recorded:
        recorded(Runner)(error).run_with_ir(pipeline_pb2.Pipeline())


@pytest.mark.parametrize(
    "error, told",
    [(ValueError("boom\nand more"), "ValueError: boom"), (RefusedError("the gate says no"), "the gate says no")],
)
def test_what_ends_a_run_goes_on_and_is_kept_in_one_line(tmp_path, error, told):
    """No component has run, so there is nothing to report on either: that must not hide the error."""
    workspace = Workspace.at(str(tmp_path))
    with pytest.raises(type(error)):
        run(workspace, error)
    (run_id,) = os.listdir(workspace.reports)
    setup = read_setup(workspace, run_id)
    assert (setup.error, setup.engine, setup.log) == (told, "local", "run.log")


def test_a_report_that_cannot_be_made_is_told_in_the_log_and_the_run_is_fine(tmp_path, caplog):
    workspace = Workspace.at(str(tmp_path))
    run(workspace)
    (run_id,) = os.listdir(workspace.reports)
    assert read_setup(workspace, run_id).error is None
    assert "could not be made; segpipe report makes it again" in caplog.text


def test_a_pipeline_that_is_only_looked_at_leaves_nothing(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    with recording(Config(), workspace, "local", None) as recorded:
        assert issubclass(recorded(Runner), Runner)
    assert not os.path.exists(workspace.reports)


def test_a_run_that_is_interrupted_keeps_its_setup_and_ends_at_once(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run(workspace, KeyboardInterrupt())
    (run_id,) = os.listdir(workspace.reports)
    assert os.listdir(workspace.report(run_id)) == [SETUP]
