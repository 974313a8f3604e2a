"""The database is read whatever a writer does or a kill left; damage is told with a way out."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from stored_runs import Store, evaluated, pushed

from components.errors import SegpipeError, UsageError
from pipeline.metadata_file import BACKUP, back_up, exists, snapshot, upgrade
from pipeline.records import list_runs


@pytest.fixture
def store(tmp_path):
    """A database with one run of a pushed model."""
    store = Store(tmp_path)
    evaluated(store, "r1", {"metrics": {"mean_iou": 0.6}, "refusals": []})
    pushed(store, "r1")
    return store


HALF_A_TRANSACTION = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
# A cache of one page, so that the transaction is written to the file before it is committed.
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("CREATE TABLE filler (x)")
connection.executemany("INSERT INTO filler VALUES (?)", [("y" * 1000,)] * 500)
connection.execute("DELETE FROM Execution")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_half_written_is_taken_back(store):
    before = os.path.getsize(store.path)
    done = subprocess.run([sys.executable, "-c", HALF_A_TRANSACTION, store.path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.path.exists(store.path + "-journal") and os.path.getsize(store.path) > before
    (run,) = list_runs(store.path)
    assert (run.run_id, run.verdict) == ("r1", "pushed")


def test_a_reader_waits_for_a_writer_that_commits(store):
    writer = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN EXCLUSIVE")
    import threading

    threading.Timer(0.5, lambda: writer.execute("COMMIT")).start()
    assert len(list_runs(store.path)) == 1


def _overwrite(path: str, start: int, length: int) -> None:
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(os.urandom(length))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: _overwrite(path, 0, 4096),
        lambda path: _overwrite(path, 8 * 4096, 4 * 4096),
        lambda path: os.truncate(path, os.path.getsize(path) // 2),
        lambda path: os.truncate(path, 10),
        lambda path: _overwrite(path, 0, os.path.getsize(path)),
    ],
    ids=["first page", "in the middle", "half", "ten bytes", "garbage"],
)
def test_damage_is_told_with_a_way_out(store, damage):
    damage(store.path)
    with pytest.raises(SegpipeError) as told:
        list_runs(store.path)
    assert str(told.value).startswith(f"{store.path}: is damaged (")
    root = os.path.join(os.path.dirname(store.path), "pipeline_root")
    assert str(told.value).endswith(
        f"; move {store.path}* and {root} away to start afresh; what is served stays as it is"
    )
    with pytest.raises(SegpipeError, match="is damaged"), snapshot(store.path):
        pytest.fail("a damaged database was opened")


def test_a_database_that_is_gone_is_told_only_where_it_knew_artifacts(tmp_path, store):
    os.remove(store.path)
    assert list_runs(store.path) == [] and not exists(store.path)
    (tmp_path / "pipeline_root" / "Trainer").mkdir(parents=True)
    for content in (None, b""):
        if content is not None:
            (tmp_path / "metadata.db").write_bytes(content)
        with pytest.raises(SegpipeError, match=r"metadata\.db: is gone, but .*/pipeline_root holds what earlier runs"):
            list_runs(store.path)


def test_a_workspace_whose_runs_are_on_a_server_says_so(tmp_path):
    (tmp_path / "ir").mkdir()
    (tmp_path / "pipeline_root" / "Trainer").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"metadata\.db: is not there, .* on a server; name that with --metadata"):
        exists(str(tmp_path / "metadata.db"))


def test_a_copy_brings_everything_back(tmp_path, store):
    back_up(store.path)
    _overwrite(store.path, 0, 4096)
    with pytest.raises(SegpipeError, match=f"copy {tmp_path}/{BACKUP} to {store.path} to have back"):
        list_runs(store.path)
    os.remove(store.path)
    os.rename(tmp_path / BACKUP, store.path)
    assert [run.verdict for run in list_runs(store.path)] == ["pushed"]


def test_a_damaged_database_does_not_replace_the_good_copy(tmp_path, store):
    back_up(store.path)
    good = (tmp_path / BACKUP).read_bytes()
    _overwrite(store.path, 8 * 4096, 4 * 4096)
    with pytest.raises(SegpipeError, match="is damaged"):
        back_up(store.path)
    assert (tmp_path / BACKUP).read_bytes() == good
    assert sorted(os.listdir(tmp_path)) == [BACKUP, "metadata.db"]


@pytest.mark.parametrize("name", ["a b", "50%", "what?", "#1"])
def test_folders_may_be_called_anything(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    store = Store(folder)
    pushed(store, "r1")
    back_up(store.path)
    assert len(list_runs(store.path)) == 1


def _schema(path) -> int:
    return sqlite3.connect(path).execute("SELECT schema_version FROM MLMDEnv").fetchone()[0]


def test_a_database_of_an_older_ml_metadata_is_read_as_it_is_and_kept_before_it_is_brought_up_to_date(tmp_path, store):
    newest, older = _schema(store.path), 8
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = store.path
    metadata_store.downgrade_schema(connection, older)
    assert _schema(store.path) == older < newest
    before = [run.verdict for run in list_runs(store.path)]
    assert (before, _schema(store.path)) == (["pushed"], older)
    upgrade(store.path)
    assert _schema(store.path) == newest and [run.verdict for run in list_runs(store.path)] == before
    kept = tmp_path / f"metadata.schema-{older}.db"
    assert _schema(kept) == older
    upgrade(store.path)
    assert sorted(os.listdir(tmp_path)) == ["metadata.db", kept.name]
