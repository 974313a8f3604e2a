"""A person overrules the gate, never the canary; the blessed model is served and is what the next run compares with."""

import json
import os

import pytest
from workbench import OPEN_GATE, Bench, drawn

pytestmark = pytest.mark.e2e

CLOSED_GATE = OPEN_GATE | {"min_mean_iou": 0.99}
REASON = "the masks [of today] were checked by eye"


def recipe(steps: int) -> dict:
    return {"steps": steps, "batch_size": 8, "evaluations": 1}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A workspace with a run that the gate refused, then a later run that pushed."""
    folder = tmp_path_factory.mktemp("bless")
    bench = Bench(folder, {"gate": CLOSED_GATE})
    bench.ingest(drawn(folder / "drawn"))
    assert bench.run_here().verdict == "refused"
    bench.sections = {"gate": OPEN_GATE, "training": recipe(5)}
    assert bench.run_here().verdict == "pushed"
    return bench


@pytest.fixture(scope="module")
def refused(bench) -> str:
    """Id of the refused run. Its model is older than the one that is blessed, which must not matter."""
    return bench.status()["runs"][0]["run_id"]


@pytest.fixture(scope="module")
def blessed(bench, refused):
    """What `segpipe bless` wrote, and the versions that were there before."""
    before = bench.versions()
    return bench.segpipe("bless", refused, "--reason", REASON), before


def test_a_blessed_run_is_live_and_says_who_pushed_it_and_why(bench, refused, blessed):
    done, before = blessed
    (version,) = set(bench.versions()) - set(before)
    assert done.stdout == f"blessed run {refused}, pushed as version {version} in {bench.serving}/{version}\n"
    status = bench.status()
    run, blessing = status["runs"][0], status["runs"][0]["blessing"]
    assert (status["live_version"], run["verdict"], run["version"]) == (int(version), "blessed", int(version))
    assert (blessing["reason"], blessing["version"], bool(blessing["by"])) == (REASON, int(version), True)
    assert run["reasons"][0].startswith("mean_iou of all photos is 0.")
    assert f"as version {version}" in min(bench.workspace.glob("logs/bless-*.log")).read_text()
    report = bench.workspace / "reports" / refused.replace(":", "-") / "report.json"
    assert json.loads(report.read_text())["verdict"] == "blessed"
    (row,) = [line for line in bench.segpipe("status").stdout.splitlines() if line.startswith(refused)]
    assert f"{version} (live)" in row and REASON in row


def test_the_lineage_of_a_blessing_leads_to_the_model_and_its_photos(bench, refused, blessed):
    from pipeline.records import list_runs

    first = list_runs(str(bench.workspace / "metadata.db"))[0]
    node = first.nodes["HandBlessing"]
    assert (first.run_id, node.state) == (refused, "complete")
    blessing, model = node.output("blessing").custom_properties, node.output("model")
    assert model.uri == first.output("Trainer", "model").uri == blessing["current_model"].string_value
    assert (blessing["blessed"].int_value, blessing["current_model_id"].int_value) == (1, model.id)
    # The canary's own figures, measured anew.
    assert node.output("infra_blessing").custom_properties["latency_ms"].double_value > 0
    assert node.output("pushed_model").custom_properties["pushed"].int_value == 1


def test_the_next_run_compares_with_the_blessed_model_and_pushes_no_copy(bench, blessed):
    versions, first = bench.versions(), bench.status()["runs"][0]
    bench.sections = {"gate": CLOSED_GATE}
    done = bench.segpipe("run", "--config", bench.config)
    assert "nothing new; live is version" in done.stdout and REASON in done.stdout
    run = bench.status()["runs"][-1]
    assert (run["verdict"], run["version"], bench.versions()) == ("unchanged", first["version"], versions)
    assert run["baseline"] == run["metrics"] == first["metrics"]
    # Now that it is blessed, a gate that lets it pass finds it live, too.
    bench.sections = {}
    assert (bench.run_here().verdict, bench.versions()) == ("unchanged", versions)


def test_a_model_that_fails_the_canary_is_never_pushed_by_hand(bench):
    bench.sections = {"gate": CLOSED_GATE, "training": recipe(6)}
    run = bench.run_here()
    versions, live = bench.versions(), bench.status()["live_version"]
    weights = "Format-Serving/variables/variables.data-00000-of-00001"
    os.truncate(os.path.join(run.output("Trainer", "model").uri, weights), 1000)
    done = bench.segpipe("bless", "latest", "--reason", REASON, status=3)
    assert "Traceback" not in done.stderr
    assert f"segpipe: run {run.run_id} is not blessed: the exported model may not serve: it cannot be l" in done.stderr
    assert (bench.versions(), bench.status()["live_version"]) == (versions, live)
    after = bench.status()["runs"][-1]
    assert (after["verdict"], after["blessing"], after["nodes"]["HandBlessing"]["state"]) == ("refused", None, "failed")
    assert after["reasons"][-1].startswith("the exported model may not serve: it cannot be loaded and called")
    assert os.path.isdir(run.output("Trainer", "model").uri)

    # Nor is it a baseline.
    bench.sections = {"gate": OPEN_GATE, "training": recipe(5)}
    blessing = bench.run_here().output("SegmentationEvaluator", "blessing")
    baseline = blessing.custom_properties["baseline_model"].string_value
    assert baseline and baseline != run.output("Trainer", "model").uri
