"""A run that is killed while it trains goes on where it was, and pushes the very model it would have pushed."""

import re
import signal
import subprocess
import time

import numpy as np
import pytest
from workbench import TINY, Bench, drawn, weights

pytestmark = pytest.mark.e2e

_STEPS = 300


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("dataset") / "drawn")


def _bench(folder, dataset) -> Bench:
    folder.mkdir()
    training = TINY["training"] | {"steps": _STEPS, "evaluations": 3, "checkpoint_seconds": 0.2}
    # The net with norms, whose statistics a checkpoint has to hold, too.
    bench = Bench(folder, {"training": training, "model": TINY["model"] | {"name": "residual"}})
    bench.ingest(dataset)
    return bench


def _kill_while_it_trains(bench) -> None:
    run = subprocess.Popen(
        bench.command("run", "--config", str(bench.config)), cwd=bench.folder, stderr=subprocess.DEVNULL
    )
    try:
        deadline, written = time.monotonic() + 900, set()
        # The first checkpoint follows the first step, which takes seconds to trace; the third lies well inside.
        while len(written) < 3:
            assert run.poll() is None and time.monotonic() < deadline, "too few checkpoints were written"
            written |= {path.stat().st_mtime_ns for path in bench.workspace.glob("checkpoints/*.npz")}
            time.sleep(0.01)
    finally:
        run.kill()
    assert run.wait() == -signal.SIGKILL


def test_a_killed_run_finishes_with_the_weights_of_an_undisturbed_one(tmp_path, dataset):
    killed, undisturbed = _bench(tmp_path / "killed", dataset), _bench(tmp_path / "undisturbed", dataset)
    _kill_while_it_trains(killed)
    (run,) = killed.status()["runs"]
    assert (run["verdict"], run["nodes"]["Trainer"]["state"]) == ("interrupted", "running")
    assert killed.versions() == []

    done = killed.segpipe("run", "--config", killed.config)
    resumed_at = re.search(rf"Trainer: resumed at step (\d+) of {_STEPS}\n", done.stderr)
    assert resumed_at and 2 < int(resumed_at[1]) < _STEPS
    assert killed.status()["runs"][-1]["nodes"]["Transform"]["state"] == "cached"
    assert list(killed.workspace.glob("checkpoints/*")) == []

    assert undisturbed.run()["verdict"] == "pushed"
    ours, theirs = (weights(bench.serving / version) for bench in (killed, undisturbed) for version in bench.versions())
    assert len(ours) > 50
    for name in ours.keys() | theirs.keys():
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
