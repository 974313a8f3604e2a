"""A rollback outlives what follows it, and gc takes what old runs left but nothing that is served or repeated."""

import os

import pytest
from workbench import OPEN_GATE, Bench, drawn

pytestmark = pytest.mark.e2e

REASON = "collars come out as background"


def recipe(steps: int) -> dict:
    return {"steps": steps, "batch_size": 8, "evaluations": 1}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollback")
    bench = Bench(folder)
    bench.ingest(drawn(folder / "drawn"))
    return bench


def train(bench: Bench, steps: int):
    serving = {"keep": 2, "grace_seconds": 0}
    bench.sections = {"training": recipe(steps), "gate": OPEN_GATE, "serving": serving}
    return bench.run_here()


@pytest.fixture(scope="module")
def rolled_back(bench):
    """The runs of two models that were pushed, and the live version after the rollback to the first."""
    first, second = train(bench, 4), train(bench, 5)
    assert [run.verdict for run in (first, second)] == ["pushed", "pushed"]
    bench.segpipe("rollback", "--reason", REASON)
    return first, second, bench.status()["live_version"]


def test_after_a_rollback_the_older_models_run_is_live_and_says_why(bench, rolled_back):
    first, second, live = rolled_back
    older, newer = bench.status()["runs"]
    assert (older["run_id"], older["version"], newer["version"]) == (first.run_id, live, second.version)
    assert live > second.version and older["rollback"] == newer["rollback"]
    assert (older["rollback"]["reason"], older["rollback"]["left"]) == (REASON, second.version)


def test_repeating_the_run_of_the_model_that_was_left_pushes_nothing(bench, rolled_back):
    first, _, live = rolled_back
    versions = bench.versions()
    done = bench.segpipe("run", "--config", bench.config, status=3)
    assert "refused, nothing is pushed: its model was rolled back by" in done.stderr and REASON in done.stderr
    # Once more, where all but the resolver comes from the cache.
    bench.run_here()
    for run in bench.status()["runs"][-2:]:
        assert (run["verdict"], run["nodes"]["Trainer"]["state"]) == ("refused", "cached")
        assert run["baseline"] == first.summary["metrics"]
    assert (bench.versions(), bench.status()["live_version"]) == (versions, live)


def test_the_next_training_is_compared_with_the_model_rolled_back_to_and_pushed(bench, rolled_back):
    first, second, live = rolled_back
    run = train(bench, 6)
    assert run.summary["baseline"] == first.summary["metrics"] != second.summary["metrics"]
    assert run.verdict == "pushed" and run.version > live
    # Two are kept: the new one, and the one that a rollback would go to.
    assert bench.versions() == [str(live), str(run.version)]


@pytest.fixture(scope="module")
def collected(bench, rolled_back):
    """What gc said, dry and for good, and what was live before; the model of the last run is live."""
    train(bench, 6)
    dry = bench.segpipe("gc", "--keep-runs", "1", "--dry-run").stdout
    before = set(bench.workspace.rglob("*"))
    return dry, before, bench.segpipe("gc", "--keep-runs", "1").stdout


def test_a_dry_run_removes_nothing_and_names_what_gc_then_removes(bench, collected):
    dry, before, done = collected
    assert dry.splitlines()[:-1] == done.splitlines()[:-1]
    assert dry.splitlines()[-1].startswith("would remove ") and done.splitlines()[-1].startswith("removed ")
    assert "Model" in done and "Examples" not in done, "the runs differ in what they trained"
    trained = bench.workspace / "pipeline_root" / "Trainer" / "model"
    assert len({path for path in before if path.parent == trained}) == 3
    # The live model, and the one that a rollback goes to: the first, not the one that was left.
    assert len(list(trained.iterdir())) == 2


def test_after_gc_an_unchanged_run_is_cached_and_status_and_predict_work(bench, collected):
    live = bench.status()["live_version"]
    run = bench.run_here()
    assert {name for name, node in run.nodes.items() if node.state != "cached"} == {"LatestBlessedModel"}
    assert (run.verdict, bench.status()["live_version"]) == ("unchanged", live)
    assert [r["verdict"] for r in bench.status()["runs"]][:2] == ["pushed", "pushed"]
    out = bench.folder / "predicted"
    bench.segpipe("predict", bench.folder / "drawn" / "images", "--output", out, "--config", bench.config)
    assert len(list((out / "masks").iterdir())) == 32


def test_after_gc_the_lineage_of_the_live_model_is_whole(bench, collected):
    from components.pusher.versions import origin
    from pipeline.lineage import ancestors
    from pipeline.metadata import open_metadata

    store = open_metadata(str(bench.workspace / "metadata.db"))
    (model,) = store.get_artifacts_by_uri(origin(str(bench.serving), bench.status()["live_version"]))
    artifacts, _ = ancestors(store, {model.id})
    found = store.get_artifacts_by_id(sorted(artifacts))
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    assert {"Examples", "TransformGraph", "Schema", "Model"} <= {kinds[artifact.type_id] for artifact in found}
    assert all(os.path.exists(artifact.uri) for artifact in found)


def test_after_gc_a_rollback_still_works(bench, collected):
    bench.segpipe("rollback", "--reason", REASON)
    status = bench.status()
    assert status["runs"][0]["version"] == status["live_version"]
