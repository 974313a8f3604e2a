"""The pipeline that is compiled for Kubeflow, executed step by step against a real database server on loopback."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from kubeflow_backend import Backend
from mariadb import mariadb, needs_mariadb
from ml_metadata.proto import metadata_store_pb2
from workbench import NODES, Bench, drawn

from pipeline.cli import main

pytestmark = [pytest.mark.e2e, needs_mariadb]

SECRET = ("segpipe-metadata", "password")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mariadb(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture(scope="module")
def bench(tmp_path_factory, server):
    folder = tmp_path_factory.mktemp("kubeflow")
    kubeflow = {
        "python": sys.executable,
        "root": str(folder / "workspace"),
        "volumes": [{"claim": "shared", "path": str(folder)}],
        "metadata": {"host": "127.0.0.1", "port": server.port},
    }
    bench = Bench(folder, {"kubeflow": kubeflow})
    bench.ingest(drawn(folder / "drawn-1", seed=17))
    return bench


@pytest.fixture(scope="module")
def backend(bench, server):
    path = bench.folder / "pipeline.yaml"
    command = ["compile", "--engine", "kubeflow", "--output", str(path), "--config", str(bench.config)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return Backend(path, bench.folder / "steps", {SECRET: server.password})


@pytest.fixture(scope="module")
def first(backend):
    """A run whose Transform is killed once; the first steps of another one start with it, on an empty database."""
    with ThreadPoolExecutor(2) as pool:
        whole = pool.submit(backend.run, kill="transform")
        other = pool.submit(backend.run, until=("plan", "importschemagen"))
        return whole.result(), other.result()


@pytest.fixture(scope="module")
def second(backend, bench, first):
    bench.ingest(drawn(bench.folder / "drawn-2", seed=18))
    return backend.run({"window": 2})


@pytest.fixture
def store(server, monkeypatch):
    """The server's database, through the client that the steps use."""
    from pipeline.remote_metadata import PASSWORD, connect

    monkeypatch.setenv(PASSWORD, server.password)
    return connect(f"mysql://{server.user}@127.0.0.1:{server.port}/segpipe")


def record(store, bench, run):
    from pipeline.records import read_run

    return read_run(store, run.run_id, str(bench.workspace / "pipeline_root"))


def test_a_run_of_one_process_a_step_pushes_a_model(first, bench, backend, store):
    run, _ = first
    assert run.status == 0, run.said()
    assert set(run.tries) == set(backend.tasks)
    assert run.parallel == 2, "independent steps run at the same time"
    assert set(record(store, bench, run).nodes) == NODES
    version = bench.versions()[0]
    assert f"pushed, live is version {version}\n" in run.tries["verdict"][-1].log
    assert (bench.serving / version / "saved_model.pb").is_file()


def test_a_step_that_was_killed_is_tried_again_and_leaves_one_finished_execution(first, bench, store):
    run, _ = first
    assert [step.status for step in run.tries["transform"]] == [-9, 0]
    context = store.get_context_by_type_and_name("pipeline_run", run.run_id)
    states = [execution.last_known_state for execution in store.get_executions_by_context(context.id)]
    # The schema may come from the cache of the run that starts with this one.
    finished = {metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED}
    assert len(states) == len(NODES) and set(states) <= finished, states
    assert record(store, bench, run).nodes["Transform"].state == "complete"


def test_two_first_steps_at_once_on_an_empty_database_both_finish(first, bench, store, server):
    run, other = first
    assert other.status == 0, other.said()
    assert set(record(store, bench, other).nodes) == {"ImportSchemaGen"}
    twice = "SELECT name FROM segpipe.Type WHERE version IS NULL GROUP BY name, type_kind HAVING COUNT(*) > 1"
    assert server.query(twice) == ""


def test_the_second_run_trains_on_a_window_and_compares_with_the_first_ones_blessed_model(second, first, bench, store):
    assert second.status == 0, second.said()
    older, newer = bench.versions()
    assert int(newer) > int(older)
    assert f"pushed, live is version {newer}\n" in second.tries["verdict"][-1].log
    before, now = record(store, bench, first[0]), record(store, bench, second)
    assert (before.spans, now.spans) == ([1], [1, 2])
    (baseline,) = now.nodes["SegmentationEvaluator"].inputs["baseline_model"]
    assert baseline.uri == before.output("Trainer", "model").uri
    assert now.summary["baseline"], "scores of both models"


def test_the_password_is_in_no_file_and_no_table(second, bench, server):
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert [path for path in files if server.password.encode() in path.read_bytes()] == []
    values = server.query("SELECT string_value FROM segpipe.ExecutionProperty WHERE string_value IS NOT NULL")
    assert values and server.password not in values


def test_a_step_of_another_source_is_refused(backend, bench):
    path = bench.folder / "stale.yaml"
    path.write_text(
        re.sub(r"(--source\n\s+- )\S+", r"\g<1>source-of-then", (bench.folder / "pipeline.yaml").read_text())
    )
    stale = Backend(path, bench.folder / "steps", {SECRET: "unused"}).run(until=("plan",))
    assert stale.status == 2
    assert "the pipeline was compiled from source-of-then; build the image and" in stale.tries["plan"][-1].log
