"""Which runs `segpipe bless` takes, and one sentence with the promised exit status for each that it does not."""

import getpass
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stored_runs import REFUSED, Store, blessed_by_hand, evaluated, pushed, refused

from pipeline.blessings import login_name
from pipeline.cli import main
from pipeline.workspace import Workspace


def bless(workspace: Path, run: str = "latest", reason: str = "seen by eye") -> Result:
    return CliRunner().invoke(main, ["bless", run, "--reason", reason, "--workspace", str(workspace)])


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def model(folder: Path) -> Path:
    for path in (folder / "Format-Serving", folder / "examples" / "Split-eval"):
        path.mkdir(parents=True)
    return folder


def refused_by_data(store: Store) -> None:
    store.refusal("r1", "AnomalyGate", ["train: breed: Unexpected string values"])


def refused_by_canary(store: Store) -> None:
    store.node("r1", "AnomalyGate", "COMPLETE")
    store.refusal("r1", "ModelCanary", ["signature masks is missing"])


def refused_by_conservation(store: Store) -> None:
    for node in ("AnomalyGate", "ModelCanary"):
        store.node("r1", node, "COMPLETE")
    evaluated(store, "r1", REFUSED)
    store.refusal("r1", "Conservation", ["Transform has 4 train examples where SpanExampleGen has 5"])


def went_well(store: Store) -> None:
    evaluated(store, "r1", {"metrics": {}, "refusals": []})
    pushed(store, "r1")


def lost_its_examples(store: Store) -> None:
    refused(store, "r1", model(store.folder / "m"))
    (store.folder / "m" / "examples" / "Split-eval").rmdir()


@pytest.mark.parametrize(
    "make, status, said",
    [
        (went_well, 2, "run r1 is pushed as version 17; only a run whose model the gate refused can be blessed"),
        (
            lambda store: store.node("r1", "Trainer", "FAILED"),
            2,
            "run r1 is failed; only a run whose model the gate refused can be blessed",
        ),
        (
            lambda store: store.node("r1", "Trainer", "RUNNING"),
            2,
            "run r1 is interrupted; only a run whose model the gate refused can be blessed",
        ),
        (
            refused_by_data,
            3,
            "run r1 cannot be blessed, AnomalyGate refused its data: train: breed: Unexpected string values; "
            "mend the cause and run again",
        ),
        (
            refused_by_canary,
            3,
            "run r1 cannot be blessed, the canary failed it: signature masks is missing; mend the cause and run again",
        ),
        (
            refused_by_conservation,
            3,
            "run r1 cannot be blessed, it lost examples on the way: Transform has 4 train examples where "
            "SpanExampleGen has 5; mend the cause and run again",
        ),
        (
            lambda store: refused(store, "r1", store.folder / "gone"),
            1,
            "{folder}/gone/Format-Serving is gone; run segpipe run to make the model again, then bless that run",
        ),
        (
            lambda store: (
                refused(store, "r1", model(store.folder / "m")),
                (store.folder / "m/examples/Split-eval").rmdir(),
            ),
            1,
            "{folder}/m/examples/Split-eval is gone; run segpipe run to make the examples again, then bless that run",
        ),
    ],
    ids=["pushed", "failed", "interrupted", "data", "canary", "conservation", "no model", "no examples"],
)
def test_a_run_that_no_person_may_push_is_named_with_why(store, make, status, said):
    make(store)
    result = bless(store.folder)
    assert (result.exit_code, result.stderr) == (status, f"segpipe: {said.format(folder=store.folder)}\n")
    assert not Path(store.folder, "serving_model").exists()


def test_a_run_that_nobody_knows_is_named(store):
    refused(store, "r1", model(store.folder / "m"))
    result = bless(store.folder, "r2")
    assert result.exit_code == 2
    assert f"segpipe: RUN r2: no such run; segpipe status --workspace {store.folder} lists them" in result.stderr


def test_a_workspace_without_runs_is_named_and_not_made(tmp_path):
    result = bless(tmp_path / "w")
    assert result.exit_code == 2
    assert f"segpipe: no run in {tmp_path}/w yet; run segpipe run --workspace" in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("reason", ["", " \t"])
def test_a_blessing_needs_a_reason(store, reason):
    refused(store, "r1", model(store.folder / "m"))
    result = bless(store.folder, reason=reason)
    assert result.exit_code == 2
    assert "segpipe: --reason is empty; say why" in result.stderr


def test_one_writer_at_a_time(store):
    refused(store, "r1", model(store.folder / "m"))
    with Workspace.at(str(store.folder)).writer("run"):
        result = bless(store.folder)
    assert result.exit_code == 1
    assert f"is in use by segpipe run (process {os.getpid()})" in result.stderr


@pytest.mark.parametrize("run", ["latest", "r1"])
def test_blessing_again_does_nothing_and_says_so(store, run):
    refused(store, "r1", model(store.folder / "m"))
    blessed_by_hand(store, "r1", store.folder / "m")
    before = Path(store.path).read_bytes()
    result = bless(store.folder, run, "another reason")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"nothing new, was blessed before: run r1, pushed as version 17 in {store.folder}/serving_model/17\n"
    )
    assert Path(store.path).read_bytes() == before


def test_who_blesses_is_the_login_name_or_the_number_of_a_user_without_account(monkeypatch):
    assert login_name() == getpass.getuser()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert login_name() == "uid 54321"
