"""What is kept of how a run was started, and what is not: secrets."""

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.run_setup import HIDDEN, SETUP, RunSetup, _commit, describe_run, read_setup, without_secrets, write_setup
from pipeline.workspace import Workspace


def test_a_setup_comes_back_as_it_was_kept(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    setup = describe_run(Config().model_dump(mode="json"), "beam", "run.log")
    write_setup(workspace, "2026-11-25T09:00:00.5", setup)
    assert read_setup(workspace, "2026-11-25T09:00:00.5") == setup
    assert Config.model_validate(setup.config) == Config()
    assert setup.versions["tfx"].startswith("1.") and setup.versions["python"].startswith("3.")
    assert os.listdir(workspace.report("2026-11-25T09:00:00.5")) == [SETUP]


@pytest.mark.parametrize("content", [None, b"", b"{half", b'{"engine": "local"}'])
def test_a_run_without_a_setup_or_with_half_of_one_has_none(tmp_path, content):
    workspace = Workspace.at(str(tmp_path))
    if content is not None:
        folder = Path(workspace.report("r"))
        folder.mkdir(parents=True)
        (folder / SETUP).write_bytes(content)
    assert read_setup(workspace, "r") is None


@pytest.mark.parametrize(
    "given, kept",
    [
        ({"password": "hunter2"}, {"password": HIDDEN}),
        ({"db": {"API_KEY": 5}}, {"db": {"API_KEY": HIDDEN}}),
        ({"apikey": ["a", "b"]}, {"apikey": [HIDDEN, HIDDEN]}),
        ({"token": None}, {"token": None}),
        ({"token": "${TOKEN}"}, {"token": "${TOKEN}"}),
        (["https://ana:hunter2@example.org/x"], ["https://example.org/x"]),
        ({"steps": 3, "name": "residual"}, {"steps": 3, "name": "residual"}),
    ],
)
def test_what_looks_like_a_secret_is_hidden(given, kept):
    assert without_secrets(given) == kept


def test_of_a_secret_in_the_environment_the_setup_keeps_the_name(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKER_TOKEN", "hunter2")
    workspace = Workspace.at(str(tmp_path))
    config = Config(beam={"default": {"arguments": ["--worker_token=${WORKER_TOKEN}"]}})
    write_setup(workspace, "r", describe_run(config.model_dump(mode="json"), "local", None))
    kept = (Path(workspace.report("r")) / SETUP).read_text()
    assert "hunter2" not in kept and "${WORKER_TOKEN}" in kept


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_source_and_says_if_files_differ_from_it(tmp_path):
    source = tmp_path / "source.py"
    source.write_text("1")
    assert _commit(str(source)) is None, "no repository"
    git(tmp_path, "init", "--quiet")
    assert _commit(str(source)) is None, "a repository that does not hold the source"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert _commit(str(source)) == head
    (tmp_path / "scratch").touch()
    assert _commit(str(source)) == head, "an untracked file is no source"
    source.write_text("2")
    assert _commit(str(source)) == head + "+"


def test_a_field_that_is_not_known_makes_no_setup():
    with pytest.raises(ValueError):
        RunSetup.model_validate({"engine": "local", "colour": "red"})
