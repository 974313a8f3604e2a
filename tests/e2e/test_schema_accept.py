"""Refused, reviewed, accepted, pushed: for a value that the schema does not know, and for photos that drifted."""

import json
import os

import pytest
from PIL import Image
from workbench import Bench, drawn, executed

pytestmark = pytest.mark.e2e


def rename_breed(dataset, name: str) -> None:
    """Gives one training photo another breed."""
    lists = dataset / "annotations"
    stem = (lists / "trainval.txt").read_text().split()[0]
    for folder, suffix in (("images", ".jpg"), ("annotations/trimaps", ".png")):
        (dataset / folder / (stem + suffix)).rename(dataset / folder / f"{name}_1{suffix}")
    with open(lists / "trainval.txt", "a") as file:
        file.write(f"{name}_1 1 1 1\n")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A workspace with a pushed model, and a second span with a breed that the schema does not know."""
    bench = Bench(tmp_path_factory.mktemp("accept"))
    bench.ingest(drawn(bench.folder / "first"))
    assert bench.run_here().verdict == "pushed"
    second = drawn(bench.folder / "second", seed=18)
    rename_breed(second, "Unicorn")
    bench.ingest(second)
    return bench


@pytest.fixture(scope="module")
def refused(bench):
    """What the run on the second span printed."""
    return bench.segpipe("run", "--config", bench.config, status=3)


def accept(bench, *arguments: str, status: int = 0):
    return bench.segpipe("schema", "accept", *arguments, "--config", bench.config, status=status)


def test_nothing_is_accepted_before_a_person_has_seen_it_and_said_so(bench, refused):
    assert "Unicorn" in refused.stderr
    done = accept(bench, status=2)
    assert '+  value: "Unicorn"' in done.stdout.splitlines()
    assert "standard input is no terminal to ask on" in done.stderr
    assert not (bench.workspace / "schema.pbtxt").exists()
    assert "schema/schema.pbtxt (the curated one)" in bench.segpipe("schema", "show").stderr


def test_an_accepted_value_is_in_the_schema_of_the_next_run(bench, refused):
    kept = bench.workspace / "schema.pbtxt"
    done = accept(bench, "--yes")
    changed = [line for line in done.stdout.splitlines() if line.startswith(("+ ", "- "))]
    assert changed == ['+  value: "Unicorn"'], "no more than what was strange"
    assert f"wrote {kept}\n" in done.stdout
    shown = bench.segpipe("schema", "show")
    assert f"{kept} (accepted in this workspace)" in shown.stderr
    assert 'value: "Unicorn"' in shown.stdout
    assert bench.run_here().verdict == "pushed"


def test_a_run_that_was_not_refused_for_its_data_has_nothing_to_accept(bench):
    done = accept(bench, "--yes", status=2)
    assert "is pushed, and not for its data; there is nothing to accept" in done.stderr


def test_a_schema_of_ones_own_is_changed_in_its_place(bench):
    own = bench.folder / "own.pbtxt"
    own.write_text("# ours\n" + bench.segpipe("schema", "show").stdout.replace('  value: "Unicorn"\n', ""))
    bench.sections = {"schema_file": "own.pbtxt"}
    assert "Unicorn" in bench.segpipe("run", "--config", bench.config, status=3).stderr
    # With another schema than that of the run there is nothing to compare.
    done = bench.segpipe("schema", "accept", "--yes", status=2)
    assert f"{bench.workspace}/schema.pbtxt: is not the schema of run" in done.stderr
    assert f"wrote {own}\n" in accept(bench, "--yes").stdout
    assert own.read_text().startswith("# ours\nfeature {")
    assert 'value: "Unicorn"' in own.read_text()
    bench.sections = {}


def darken(dataset) -> None:
    for path in dataset.glob("images/*.jpg"):
        with Image.open(path) as photo:
            dark = photo.point(lambda value: value // 2)
        dark.save(path, quality=90)


@pytest.fixture(scope="module")
def dark(bench, refused):
    """What the run on a third span, of dark photos, printed."""
    third = drawn(bench.folder / "third", seed=19)
    darken(third)
    bench.ingest(third)
    return bench.segpipe("run", "--config", bench.config, status=3)


def test_a_drift_stops_the_run_and_both_values_are_told(bench, dark):
    run = bench.status()["runs"][-1]
    (reason,) = run["reasons"]
    assert reason.startswith("span 3: brightness: mean brightness 0.") and ", was 0." in reason
    assert " in span 2 (distance 0." in reason and "drift_comparator allows 0." in reason
    assert f"refused, nothing is pushed: {reason}\n" in dark.stderr
    now, before = (float(part.split()[0].rstrip(",")) for part in reason.split("brightness ")[1].split("was "))
    assert now == pytest.approx(before / 2, abs=0.05)
    assert executed(run).isdisjoint({"Transform", "Trainer"})


def test_an_accepted_drift_is_the_reference_from_then_on(bench, dark):
    schema = (bench.workspace / "schema.pbtxt").read_text()
    done = accept(bench, "--yes")
    assert "drift: span 3: brightness: mean brightness 0." in done.stdout
    assert "Accepted, span 3 may differ from span 2, and the next is compared with it" in done.stdout
    assert (bench.workspace / "schema.pbtxt").read_text() == schema, "the threshold stays as strict as it was"
    run = bench.run_here()
    assert (run.verdict, run.spans) == ("pushed", [3])
    assert bench.run_here().nodes["AnomalyGate"].state == "cached"

    # Photos as bright as the first are a drift now.
    bench.ingest(drawn(bench.folder / "fourth", seed=20))
    assert " in span 3 (distance" in bench.segpipe("run", "--config", bench.config, status=3).stderr
    assert bench.status()["runs"][-1]["reasons"][0].startswith("span 4: brightness: mean brightness 0.")


def test_what_was_accepted_says_by_whom_and_when(bench, dark):
    (accepted,) = json.loads((bench.workspace / "data" / "accepted_drift.json").read_text())["accepted"]
    assert (accepted["pair"]["span"]["number"], accepted["pair"]["previous"]["number"]) == (3, 2)
    assert accepted["by"] and accepted["drifted"][0].startswith("span 3: brightness")
    assert accepted["at"] <= os.stat(bench.workspace / "data" / "accepted_drift.json").st_mtime + 1
