"""A process of Beam's own is ended before it has photos, as the kernel does where memory is out: the command says so
and ends, where Beam would wait for ever.
"""

import time

import pytest
from workbench import Bench, beam_workers, drawn

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("workers"))
    drawn(bench.folder / "drawn")
    return bench


def _ingest(bench) -> list:
    return bench.ingest_command(bench.folder / "drawn")


def _run(bench) -> list:
    return ["run", "--config", bench.config]


def _infer(bench) -> list:
    return ["infer", "--span", "1", "--output", bench.folder / "masks", "--config", bench.config]


@pytest.mark.parametrize(
    ("command", "node"),
    [(_ingest, "ingest"), (_run, "StatisticsGen"), (_run, "Transform"), (_infer, "BulkInferrer")],
    ids=["ingest", "StatisticsGen", "Transform", "BulkInferrer"],
)
def test_a_process_that_is_ended_ends_the_command_which_then_works_with_one(warm, bench, command, node):
    bench.sections = {"beam": {"nodes": {node: {"direct_num_workers": 2}}}}
    process = warm.segpipe(bench, *command(bench))
    _end_a_worker(process)
    assert process.wait(120) == 1, process.stdout
    said = [line for line in process.stderr.splitlines() if "was ended" in line]
    assert said and all("a process of this Beam pipeline was ended, most likely for want of memory" in s for s in said)
    assert "direct_num_workers: 1" in said[0] and "Traceback" not in process.stderr
    # An orphan is there until init has waited for it.
    deadline = time.monotonic() + 10
    while process.group() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not process.group()

    bench.sections = {}
    if node != "StatisticsGen":
        again = warm.segpipe(bench, *command(bench))
        assert again.wait() == 0, again.stderr


def _end_a_worker(process) -> None:
    while True:
        assert process.poll() is None, f"it ended before its workers\n{process.stdout}\n{process.stderr}"
        for worker in beam_workers(process.pid):
            worker.kill()
            return
        time.sleep(0.05)
