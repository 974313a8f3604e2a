"""One node in one process: tries of one step, the stored pipeline, and ML Metadata over its gRPC service."""

import pytest
from metadata_service import metadata_service
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.errors import RefusedError, SegpipeError, UsageError
from components.refusal import refuse
from pipeline.node_launch import launch_node, node_ids, register_types
from pipeline.records import read_run
from pipeline.remote_metadata import PASSWORD, connect, connection
from pipeline.stored_ir import ir_path, load_ir, store_ir

Execution = metadata_store_pb2.Execution


def pipeline(root):
    """A pipeline of one resolver, which needs no artifact."""
    resolver = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("Latest")
    return Compiler().compile(Pipeline(pipeline_name="own", pipeline_root=str(root), components=[resolver]))


ASKED = []
"""What each execution of a component below left here."""


@component
def Refuses(blessing: OutputArtifact[standard_artifacts.ModelBlessing]):
    ASKED.append("refuses")
    refuse(blessing.uri, ["too dark", "too small"])


@component
def Raises(blessing: OutputArtifact[standard_artifacts.ModelBlessing]):
    ASKED.append("raises")
    raise RuntimeError("boom\nin the second line")


def pipeline_of(root, node):
    return Compiler().compile(Pipeline(pipeline_name="own", pipeline_root=str(root), components=[node]))


@pytest.fixture
def address(tmp_path):
    with metadata_service(str(tmp_path / "metadata.db")) as running:
        yield running


def states(address: str) -> list[str]:
    executions = sorted(connect(address).get_executions(), key=lambda execution: execution.id)
    return [Execution.State.Name(execution.last_known_state) for execution in executions]


def test_a_node_runs_over_the_metadata_service_under_the_runs_id(tmp_path, address):
    register_types(pipeline(tmp_path), connection(address))
    assert launch_node(pipeline(tmp_path), "Latest", "run-7", connection(address))
    store = connect(address)
    (run,) = store.get_contexts_by_type("pipeline_run")
    assert (run.name, len(store.get_executions_by_context(run.id))) == ("run-7", 1)


def test_a_node_that_had_finished_is_not_run_again_in_the_same_run(tmp_path, address):
    assert launch_node(pipeline(tmp_path), "Latest", "run-7", connection(address))
    assert not launch_node(pipeline(tmp_path), "Latest", "run-7", connection(address))
    assert len(states(address)) == 1
    assert launch_node(pipeline(tmp_path), "Latest", "run-8", connection(address))
    assert len(states(address)) == 2


def test_a_try_closes_what_the_one_before_left_running(tmp_path, address):
    launch_node(pipeline(tmp_path), "Latest", "run-7", connection(address))
    store = connect(address)
    (killed,) = store.get_executions()
    finished = Execution.State.Name(killed.last_known_state)
    killed.last_known_state = Execution.RUNNING
    store.put_executions([killed])
    assert launch_node(pipeline(tmp_path), "Latest", "run-7", connection(address))
    assert states(address) == ["FAILED", finished]


def test_a_node_that_has_refused_refuses_again_in_the_same_run_without_being_asked(tmp_path, address):
    ASKED.clear()
    for _ in range(2):
        with pytest.raises(RefusedError, match="^too dark; too small$"):
            launch_node(pipeline_of(tmp_path, Refuses()), "Refuses", "run-7", connection(address))
    assert (ASKED, states(address)) == (["refuses"], ["FAILED"])
    with pytest.raises(RefusedError):
        launch_node(pipeline_of(tmp_path, Refuses()), "Refuses", "run-8", connection(address))
    assert ASKED == ["refuses"] * 2, "another run asks for itself"


def test_what_a_node_raises_is_recorded_in_one_line_and_it_is_tried_again(tmp_path, address):
    ASKED.clear()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="boom"):
            launch_node(pipeline_of(tmp_path, Raises()), "Raises", "run-7", connection(address))
    assert (ASKED, states(address)) == (["raises"] * 2, ["FAILED"])
    run = read_run(connect(address), "run-7", str(tmp_path))
    assert (run.verdict, run.nodes["Raises"].parameters["error"].string_value) == ("failed", "RuntimeError: boom")


def test_a_pipeline_of_any_length_is_stored_once_and_read_back(tmp_path):
    large = pipeline(tmp_path)
    large.pipeline_info.id = "x" * 200_000
    sha256 = store_ir(str(tmp_path), large)
    written = (tmp_path / "ir" / f"{sha256}.pb").stat().st_mtime_ns
    assert store_ir(str(tmp_path), large) == sha256
    assert [path.stat().st_mtime_ns for path in (tmp_path / "ir").iterdir()] == [written]
    assert load_ir(str(tmp_path), sha256) == large
    assert node_ids(large) == {"Latest": []}


def test_a_stored_pipeline_that_was_changed_is_refused(tmp_path):
    sha256 = store_ir(str(tmp_path), pipeline(tmp_path))
    with open(ir_path(str(tmp_path), sha256), "ab") as file:
        file.write(b"\n")
    with pytest.raises(SegpipeError, match=f"{sha256}.pb: is not the pipeline of this hash; remove the file"):
        load_ir(str(tmp_path), sha256)
    with pytest.raises(SegpipeError, match="cannot be read .No such file or directory.; start a new run"):
        load_ir(str(tmp_path), "0" * 64)


def test_the_password_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv(PASSWORD, "open")
    found = connection("mysql://me@db:3307/own").mysql
    assert (found.user, found.host, found.port, found.database, found.password) == ("me", "db", 3307, "own", "open")


@pytest.mark.parametrize("address", ["mysql://db/own", "grpc://db", "sqlite:///x.db", "mysql"])
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(UsageError, match="is neither mysql://USER@HOST:PORT/DATABASE nor grpc://HOST:PORT"):
        connection(address)


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(SegpipeError, match="grpc://127.0.0.1:9: ML Metadata cannot be reached there .*; see to"):
        connect("grpc://127.0.0.1:9", patience=0)
