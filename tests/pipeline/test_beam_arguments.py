"""`${NAME}` in `beam_args`, as Beam and as TFX get it."""

import pytest
from tfx.dsl.compiler.placeholder_utils import ResolutionContext, resolve_placeholder_expression
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.orchestration.portable.data_types import ExecutionInfo

from components.anomaly_gate.executor import Executor
from components.errors import UsageError
from pipeline.beam_arguments import check, placeholders, values

ARGUMENTS = ["--runner=DirectRunner", "--s3_secret_access_key=${A}", "--temp_location=gs://${B}/${A}/tmp"]
MEANT = ["--runner=DirectRunner", "--s3_secret_access_key=one$", "--temp_location=gs://two/one$/tmp"]


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    monkeypatch.setenv("A", "one$")
    monkeypatch.setenv("B", "two")


def test_beam_gets_the_values():
    assert values(ARGUMENTS) == MEANT


def test_tfx_stores_the_names_and_its_launcher_gets_the_values():
    spec = BeamExecutorSpec(Executor)
    spec.beam_pipeline_args = placeholders(ARGUMENTS)
    stored = spec.encode()
    assert b"one$" not in stored.SerializeToString() and b"two" not in stored.SerializeToString()
    context = ResolutionContext(exec_info=ExecutionInfo())
    found = [resolve_placeholder_expression(argument, context) for argument in stored.beam_pipeline_args_placeholders]
    assert found == MEANT


def test_arguments_without_names_are_handed_on_as_they_are():
    plain = ["--runner=DirectRunner", "--direct_num_workers=1", "--what_beam_does_not_know"]
    assert values(plain) == placeholders(plain) == plain


@pytest.mark.parametrize("convert", [values, placeholders])
def test_an_option_with_a_secret_that_beam_would_write_into_its_log_is_refused(convert):
    with pytest.raises(UsageError, match="beam_args: --s3_secret_key is no option that Beam knows; mend its name"):
        convert(["--s3_secret_key=${A}"])


@pytest.mark.parametrize("convert", [values, placeholders, check])
def test_a_variable_that_is_not_set_is_found_before_anything_starts(monkeypatch, convert):
    monkeypatch.delenv("B")
    with pytest.raises(UsageError, match="beam_args: the environment variable B is not set; set it or drop"):
        convert(ARGUMENTS)
