"""Several processes that write shards: as many as help, and whichever of them ends, the others are not left alone."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import shard_writers
from shard_writers import PATIENCE, Killed, Refused, Writer, plans_in

from components.errors import SegpipeError
from components.ingest import workers
from components.ingest.shards import ShardPlan
from components.ingest.workers import write_shards
from trainer.features import FeatureSpec


def write(monkeypatch, writer: type, plans: list[ShardPlan]) -> None:
    monkeypatch.setattr(workers, "useful_processes", lambda *_: 3)
    monkeypatch.setattr("components.ingest.shards.ShardWriter", writer)
    write_shards(plans, FeatureSpec(), None)


def test_the_first_process_writes_too(monkeypatch, tmp_path):
    plans = plans_in(tmp_path, 200)
    with pytest.raises(SegpipeError, match="0: all workers finished and none wrote this shard; run the command again"):
        write(monkeypatch, Writer, plans)
    writers = {Path(plan.path).read_text() for plan in plans}
    assert str(os.getpid()) in writers and len(writers) > 1


def test_a_process_that_is_killed_is_told_in_a_sentence(monkeypatch, tmp_path):
    with pytest.raises(SegpipeError, match="a process of this ingest was ended, most likely for want of memory; free"):
        write(monkeypatch, Killed, plans_in(tmp_path, 200))
    assert not multiprocessing.active_children()


def test_what_goes_wrong_in_another_process_is_what_goes_wrong_here(monkeypatch, tmp_path):
    with pytest.raises(OSError, match="No space left on device"):
        write(monkeypatch, Refused, plans_in(tmp_path, 9))


FIRST = """
import sys
from components.ingest import workers
from shard_writers import Slow, plans_in
from pathlib import Path

if __name__ == "__main__":
    workers._write_here(plans_in(Path(sys.argv[1]), 9), Slow(), 2)
"""


def test_no_process_outlives_the_first(tmp_path):
    script = tmp_path / "first.py"
    script.write_text(FIRST)
    paths = os.pathsep.join([os.getcwd(), os.path.dirname(shard_writers.__file__)])
    first = subprocess.Popen([sys.executable, script, tmp_path], env=os.environ | {"PYTHONPATH": paths})
    writers = set()
    deadline = time.monotonic() + PATIENCE
    while len(writers) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        writers = {int(text) for path in tmp_path.glob("[0-9]") if (text := path.read_text())}
    (further,) = writers - {first.pid}
    other = psutil.Process(further)
    first.kill()
    first.wait()
    other.wait(PATIENCE / 2)
    assert not other.is_running()
