"""metadata.db damaged or gone, and a clock that was set back: what is said, that following it works, and that what is
served goes on.
"""

import os
import re
import shutil
import sqlite3

import pytest
from workbench import NODES, TINY, Bench, drawn

from components.pusher.versions import list_versions, live_version
from pipeline.records import list_runs

pytestmark = pytest.mark.e2e

_FUTURE = 4_102_444_800
"""Noon of a day in 2100, in seconds since 1970."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory, warm):
    bench = Bench(tmp_path_factory.mktemp("metadata"))
    bench.ingest(drawn(bench.folder / "drawn"))
    warm.run(bench)
    return bench


def _database(bench):
    return bench.workspace / "metadata.db"


def _garble(path) -> None:
    with open(path, "r+b") as file:
        for start in range(2 * 4096, path.stat().st_size, 3 * 4096):
            file.seek(start)
            file.write(os.urandom(4096))


@pytest.fixture(params=["garbled", "cut", "gone"])
def broken(request, bench):
    """The workspace with its database damaged in one way; it is whole again afterwards."""
    kept = bench.folder / "kept.db"
    shutil.copy(_database(bench), kept)
    if request.param == "garbled":
        _garble(_database(bench))
    elif request.param == "cut":
        os.truncate(_database(bench), _database(bench).stat().st_size // 3)
    else:
        _database(bench).unlink()
    yield bench
    shutil.copy(kept, _database(bench))


def _told(process) -> str:
    assert process.wait() == 1
    assert "Traceback" not in process.stdout + process.stderr
    (sentence,) = [line for line in process.stderr.splitlines() if line.startswith("segpipe: ")]
    return sentence


def test_every_command_that_reads_it_says_so_and_what_is_served_goes_on(warm, broken):
    what = "is gone, but" if not _database(broken).exists() else "is damaged ("
    before = {path: path.read_bytes() for path in broken.serving.rglob("*") if path.is_file()}
    sentences = [_told(warm.segpipe(broken, *command)) for command in (_run(broken), ("status",))]
    for sentence in sentences:
        assert sentence.startswith(f"segpipe: {_database(broken)}: {what}")
        assert f"copy {broken.workspace}/metadata.backup.db to {_database(broken)}" in sentence
    photos, output = broken.folder / "drawn" / "images", broken.folder / "predicted"
    predicted = warm.segpipe(broken, "predict", photos, "--output", output, "--config", broken.config)
    assert predicted.wait() == 0, predicted.stderr
    assert len(list((output / "masks").iterdir())) == 32
    assert {path: path.read_bytes() for path in broken.serving.rglob("*") if path.is_file()} == before


def _run(bench) -> tuple:
    return ("run", "--config", bench.config)


def _follow(sentence: str, pattern: str) -> None:
    """Does what a sentence says: moves what it names away, and copies what it names to where it says."""
    said = re.search(pattern, sentence)
    for name in said["away"].split(" and "):
        folder, _, prefix = name.rpartition("/")
        for entry in os.listdir(folder):
            if entry == prefix or (prefix.endswith("*") and entry.startswith(prefix[:-1])):
                os.rename(os.path.join(folder, entry), os.path.join(folder, "away-" + entry))
    if said.groupdict().get("copy"):
        shutil.copy(said["copy"], said["to"])


def test_the_copy_brings_back_every_run_and_the_cache(warm, bench):
    _garble(_database(bench))
    sentence = _told(warm.segpipe(bench, *_run(bench)))
    _follow(sentence, r"move (?P<away>\S+) away and copy (?P<copy>\S+) to (?P<to>\S+) to have back")
    warm.run(bench)
    first, second = list_runs(str(_database(bench)))
    assert (first.verdict, second.verdict) == ("pushed", "unchanged")
    assert {node.name for node in second.nodes.values() if node.state == "cached"} >= {"Trainer", "ModelCanary"}


def test_after_the_clock_was_set_back_versions_and_runs_still_follow_each_other(warm, bench):
    # All that was recorded until now is from the future.
    live = live_version(str(bench.serving))
    os.rename(bench.serving / str(live), bench.serving / str(_FUTURE))
    with sqlite3.connect(_database(bench)) as connection:
        ahead = 1000 * (_FUTURE - live)
        for column in ("create_time_since_epoch", "last_update_time_since_epoch"):
            connection.execute(f"UPDATE Execution SET {column} = {column} + ?", [ahead])  # noqa: S608
        runs = "SELECT id FROM Type WHERE name = 'pipeline_run'"
        connection.execute(f"UPDATE Context SET name = '2100' || substr(name, 5) WHERE type_id IN ({runs})")  # noqa: S608
    connection.close()

    bench.sections = {"training": TINY["training"] | {"steps": 5}}
    warm.run(bench)
    runs = list_runs(str(_database(bench)))
    assert [run.run_id[:4] == "2100" for run in runs] == [True, True, False]
    assert (runs[-1].verdict, runs[-1].version) == ("pushed", _FUTURE + 1)
    assert live_version(str(bench.serving)) == _FUTURE + 1
    assert runs[-1].summary["baseline"] == runs[0].summary["metrics"]


def test_starting_afresh_runs_everything_and_pushes_the_new_model(warm, bench):
    _database(bench).unlink()
    sentence = _told(warm.segpipe(bench, *_run(bench)))
    # Of the two ways out, the other.
    _follow(sentence, r", or move (?P<away>.+) away to start afresh")
    before = list_versions(str(bench.serving))
    warm.run(bench)
    (run,) = list_runs(str(_database(bench)))
    assert (run.verdict, {name for name, node in run.nodes.items() if node.state != "cached"}) == ("pushed", NODES)
    # The new model lies where the old one lay, as executions are counted from 1 again; still it is another one.
    assert list_versions(str(bench.serving)) == [*before, run.version]
