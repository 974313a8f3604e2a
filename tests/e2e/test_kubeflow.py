"""The pipeline that is compiled for Kubeflow, executed step by step against a real database server on loopback."""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from kubeflow_backend import Backend
from mariadb import mariadb, needs_mariadb
from ml_metadata.proto import metadata_store_pb2
from workbench import NODES, OPEN_GATE, TINY, Bench, drawn, with_unknown_breed

from pipeline.cli import main

pytestmark = [pytest.mark.e2e, needs_mariadb]

SECRET = ("segpipe-metadata", "password")
GOLDEN = 9
ALL_NODES = NODES | {"BaseModel", "GoldenExamples", "GoldenEvaluator"}


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
    sections = {"kubeflow": kubeflow, "data": {"golden_span": GOLDEN}}
    return Bench(folder, sections | {"training": TINY["training"] | {"warm_start": True}})


@pytest.fixture(scope="module")
def ingest(bench, warm):
    """Draws a dataset, and ingests it as a span."""

    def draw(span: int, spoil=lambda dataset: None) -> None:
        dataset = drawn(bench.folder / f"drawn-{span}", seed=20 + span)
        spoil(dataset)
        folders = ("--images", dataset / "images", "--masks", dataset / "annotations" / "trimaps")
        lists = ("--split-lists", dataset / "annotations")
        process = warm.segpipe(bench, "ingest", *folders, *lists, "--config", bench.config, "--span", span)
        assert process.wait() == 0, process.stdout + process.stderr

    return draw


@pytest.fixture(scope="module")
def compiled(bench, server):
    """Compiles with what the bench's config says now, for a backend that executes it."""

    def backend(name: str, warm=None) -> Backend:
        path = bench.folder / f"{name}.yaml"
        command = ["compile", "--engine", "kubeflow", "--output", str(path), "--config", str(bench.config)]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        return Backend(path, bench.folder / "steps", {SECRET: server.password}, warm)

    return backend


@pytest.fixture(scope="module")
def store(server):
    """The server's database, through the client that the steps use."""
    from pipeline.remote_metadata import PASSWORD, connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD, server.password)
        return connect(f"mysql://{server.user}@127.0.0.1:{server.port}/segpipe")


@pytest.fixture(scope="module")
def pair(compiled, ingest, warm):
    """Two whole runs that start at the same time, on an empty database."""
    ingest(1)
    ingest(GOLDEN)
    backend = compiled("pipeline", warm)
    with ThreadPoolExecutor(2) as pool:
        return [running.result() for running in [pool.submit(backend.run), pool.submit(backend.run)]]


@pytest.fixture(scope="module")
def second(compiled, ingest, warm, pair, store):
    """A run on two spans, its Transform killed once; and the baseline before it."""
    from pipeline.lineage import baseline

    blessed = baseline(store).uri
    ingest(2)
    return compiled("again", warm).run({"window": 2}, kill="transform"), blessed


@pytest.fixture(scope="module")
def strict(compiled, bench, warm, second):
    """The same once more, under a gate that no model passes."""
    kept = dict(bench.sections)
    bench.sections["gate"] = OPEN_GATE | {"min_mean_iou": 1.0}
    run = compiled("strict", warm).run({"window": 2})
    bench.sections = kept
    return run


@pytest.fixture(scope="module")
def unknown_breed(compiled, ingest, warm, strict):
    """A run on a span with a value that the schema does not know."""
    ingest(3, with_unknown_breed)
    return compiled("unknown", warm).run()


@pytest.fixture(scope="module")
def broken(compiled, bench, ingest, unknown_breed):
    """A run on a span with a shard that is cut off, by the commands as they are."""
    ingest(4)
    shard = next((bench.workspace / "data" / "span-4").glob("eval-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    return compiled("broken").run(), shard


def record(store, bench, run):
    from pipeline.records import read_run

    return read_run(store, run.run_id, str(bench.workspace / "pipeline_root"))


def figures(bench, run) -> dict:
    """What the exit handler told of a run, beside its page."""
    assert [step.status for step in run.tries["report"]] == [0], run.said()
    folder = bench.workspace / "reports" / run.run_id
    assert f"report {folder / 'report.html'}\n" in run.tries["report"][-1].log
    assert (folder / "report.html").is_file()
    return json.loads((folder / "report.json").read_text())


def statuses(run, step: str) -> list[int]:
    return [one.status for one in run.tries[step]]


def test_two_whole_runs_at_once_on_an_empty_database_both_finish(pair, bench, compiled, store, server):
    one, other = pair
    assert (one.status, other.status) == (0, 0), one.said() + other.said()
    assert one.started < other.ended and other.started < one.ended
    tasks = {name.lower() for name in ALL_NODES} | {"plan", "verdict", "report"}
    assert set(one.tries) == set(other.tries) == tasks
    assert (one.parallel, other.parallel) == (2, 2), "independent steps run at the same time"
    for run in pair:
        found = record(store, bench, run)
        assert (set(found.nodes), found.verdict in ("pushed", "unchanged")) == (ALL_NODES, True), found.reasons
        assert f"{found.verdict}, live is version {found.version}\n" in run.tries["verdict"][-1].log
        assert (bench.serving / str(found.version) / "saved_model.pb").is_file()
    assert [name for name in bench.versions() if not name.isdecimal()] == [], "nothing half pushed is left"
    twice = "SELECT name FROM segpipe.Type WHERE version IS NULL GROUP BY name, type_kind HAVING COUNT(*) > 1"
    assert server.query(twice) == ""


def test_the_golden_span_is_measured_and_reported(pair, bench):
    for run in pair:
        told = figures(bench, run)
        assert (told["golden"]["span"], told["golden"]["metrics"]["photos"]) == (GOLDEN, 32.0)
        assert told["verdict"] in ("pushed", "unchanged")
        assert (told["setup"]["engine"], told["setup"]["error"]) == ("kubeflow", None)
        assert told["evaluation"]["ranking"], "the pictures too are made in the step"


def test_the_second_run_trains_on_a_window_from_the_blessed_model_and_compares_with_it(second, pair, bench, store):
    run, blessed = second
    assert run.status == 0, run.said()
    now = record(store, bench, run)
    assert [record(store, bench, one).spans for one in pair] == [[1], [1]]
    assert (now.spans, now.verdict, str(now.version)) == ([1, 2], "pushed", bench.versions()[-1])
    (baseline,) = now.nodes["SegmentationEvaluator"].inputs["baseline_model"]
    (base_model,) = now.nodes["Trainer"].inputs["base_model"]
    assert (baseline.uri, base_model.uri) == (blessed, blessed)
    assert now.summary["baseline"], "scores of both models"
    description = bench.serving / str(now.version) / "assets.extra" / "segpipe.json"
    assert json.loads(description.read_text())["base_model"].startswith(blessed)
    assert (now.golden["span"], now.nodes["GoldenExamples"].state) == (GOLDEN, "cached")
    assert figures(bench, run)["baseline_model"]["model"] == blessed


def test_a_step_that_was_killed_is_tried_again_and_leaves_one_finished_execution(second, bench, store):
    run, _ = second
    assert statuses(run, "transform") == [-9, 0]
    context = store.get_context_by_type_and_name("pipeline_run", run.run_id)
    states = [execution.last_known_state for execution in store.get_executions_by_context(context.id)]
    finished = {metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED}
    assert len(states) == len(ALL_NODES) and set(states) <= finished, states
    assert record(store, bench, run).nodes["Transform"].state == "complete"


def test_a_model_that_the_gate_refuses_fails_its_last_step_with_status_3_once(strict, second, bench, store):
    assert (strict.status, statuses(strict, "verdict")) == (3, [3])
    assert "segpipe: refused, nothing is pushed: mean_iou of all photos is 0." in strict.tries["verdict"][0].log
    assert bench.versions()[-1] == str(record(store, bench, second[0]).version)
    told = figures(bench, strict)
    assert (told["verdict"], told["nodes"]["Trainer"]["state"]) == ("refused", "cached")
    assert "under the threshold 1" in told["reasons"][0]


def test_a_gate_that_raises_fails_its_step_with_status_3_and_is_asked_once(unknown_breed, bench, store):
    run = unknown_breed
    assert (run.status, statuses(run, "anomalygate")) == (3, [3, 3, 3])
    asked = ["Going to run a new execution" in step.log for step in run.tries["anomalygate"]]
    assert asked == [True, False, False], "a try after a refusal refuses for the same reasons"
    assert all("Unicorn" in step.log for step in run.tries["anomalygate"])
    assert set(run.tries).isdisjoint({"transform", "trainer", "atomicpusher", "verdict"})
    told = figures(bench, run)
    assert (told["verdict"], told["nodes"]["AnomalyGate"]["state"]) == ("refused", "failed")
    assert "Unicorn" in "; ".join(told["reasons"])


def test_a_node_that_raises_leaves_a_report_that_says_what(broken, bench):
    run, shard = broken
    assert (run.status, statuses(run, "spanexamplegen")) == (1, [1, 1, 1])
    told = figures(bench, run)
    (reason,) = told["reasons"]
    assert told["verdict"] == "failed"
    assert reason.startswith(f"SpanExampleGen failed: {shard}: is not the file that its manifest lists")
    assert "<h1>Failed in SpanExampleGen</h1>" in (bench.workspace / "reports" / run.run_id / "report.html").read_text()


def test_a_run_that_ends_before_its_first_node_says_so_in_the_exit_handler(bench, compiled, warm, broken):
    run = compiled("nowhere", warm).run({"span": 77})
    assert set(run.tries) == {"plan", "report"}
    assert (run.status, "--span 77: nothing new" in run.tries["plan"][-1].log) == (2, True)
    assert "the run ended before its first node, so there is nothing to report" in run.tries["report"][-1].log


@pytest.fixture
def served(server, monkeypatch, bench):
    """Runs `segpipe` on the workspace, told where its runs are recorded."""
    from pipeline.remote_metadata import PASSWORD

    monkeypatch.setenv(PASSWORD, server.password)
    monkeypatch.setenv("SEGPIPE_METADATA", f"mysql://{server.user}@127.0.0.1:{server.port}/segpipe")
    return bench


def test_status_lists_the_runs_that_a_server_has(served, pair, second, strict, unknown_breed, broken, monkeypatch):
    told = served.status()
    runs = [*pair, second[0], strict, unknown_breed, broken[0]]
    found = {run["run_id"]: run["verdict"] for run in told["runs"]}
    assert found.keys() == {run.run_id for run in runs}
    assert [found[run.run_id] for run in runs[2:]] == ["pushed", "refused", "refused", "failed"]
    assert str(told["live_version"]) == served.versions()[-1]
    monkeypatch.delenv("SEGPIPE_METADATA_PASSWORD")
    done = served.segpipe("status", status=1)
    assert "ML Metadata cannot be reached there" in done.stderr and "Traceback" not in done.stderr
    elsewhere = served.segpipe("status", "--metadata", "mysql", status=2)
    assert "is neither mysql://USER@HOST:PORT/DATABASE nor grpc://HOST:PORT" in elsewhere.stderr
    monkeypatch.delenv("SEGPIPE_METADATA")
    assert "on a server; name that with --metadata" in served.segpipe("status", status=2).stderr


def test_the_report_of_a_run_on_a_server_is_made_again(served, second):
    page = served.workspace / "reports" / second[0].run_id / "report.html"
    page.unlink()
    assert served.segpipe("report", second[0].run_id).stdout.strip() == str(page)
    assert "<h1>Pushed as version" in page.read_text()


def test_a_rollback_is_recorded_on_the_server_and_the_next_run_compares_with_what_is_live(served, pair, second, store):
    from pipeline.lineage import baseline

    older = next(version for version in served.versions() if (version != served.versions()[-1]))
    done = json.loads(served.segpipe("rollback", older, "--reason", "collars", "--json").stdout)
    assert (done["left"], done["returned_to"]) == (int(served.versions()[-2]), int(older))
    assert served.status()["live_version"] == done["version"] == int(served.versions()[-1])
    assert baseline(store).uri == done["origin"]
    left = next(run for run in served.status()["runs"] if run["run_id"] == second[0].run_id)
    assert left["rollback"]["reason"] == "collars"


def test_a_model_that_the_gate_refused_is_blessed_on_the_server_and_is_the_next_baseline(served, strict, store):
    from pipeline.lineage import baseline

    done = json.loads(served.segpipe("bless", strict.run_id, "--reason", "seen by eye", "--json").stdout)
    assert (done["new"], done["version"]) == (True, int(served.versions()[-1]))
    run = next(run for run in served.status()["runs"] if run["run_id"] == strict.run_id)
    assert (run["blessing"]["reason"], run["version"]) == ("seen by eye", done["version"])
    assert baseline(store).uri == record(store, served, strict).output("Trainer", "model").uri
    assert not (served.workspace / "metadata.db").exists()


def test_what_the_data_checks_refused_is_accepted_by_the_runs_on_the_server(served, unknown_breed):
    said = served.segpipe("schema", "accept", unknown_breed.run_id, "--yes", "--config", str(served.config)).stdout
    assert f"accepted what run {unknown_breed.run_id} was refused for" in said
    assert '"Unicorn"' in (served.workspace / "schema.pbtxt").read_text()


def test_the_password_is_in_no_file_and_no_table(second, bench, server):
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert [path for path in files if server.password.encode() in path.read_bytes()] == []
    values = server.query("SELECT string_value FROM segpipe.ExecutionProperty WHERE string_value IS NOT NULL")
    assert values and server.password not in values


def test_a_step_of_another_source_is_refused(second, bench, warm):
    path = bench.folder / "stale.yaml"
    path.write_text(re.sub(r"(--source\n\s+- )\S+", r"\g<1>source-of-then", (bench.folder / "again.yaml").read_text()))
    stale = Backend(path, bench.folder / "steps", {SECRET: "unused"}, warm).run()
    assert (stale.status, set(stale.tries)) == (2, {"plan", "report"})
    assert "the pipeline was compiled from source-of-then; build the image and" in stale.tries["plan"][-1].log
