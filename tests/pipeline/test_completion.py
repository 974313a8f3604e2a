"""Completion as shells ask for it: commands, options, runs and versions."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stored_runs import Store

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Two runs, the older of them `2026-11-02T...`, and versions 9 and 10."""
    folder = tmp_path_factory.mktemp("workspace")
    store = Store(folder)
    for day in (2, 3):
        store.node(f"2026-11-0{day}T08:00:00.000001", "Trainer", "COMPLETE")
    for version in (9, 10):
        (folder / "serving_model" / str(version)).mkdir(parents=True)
    return folder


def offered(*words: str) -> list[str]:
    """What zsh would be told for the last word; its protocol is three lines a candidate: type, value, help."""
    typed = {"COMP_WORDS": " ".join(["segpipe", *words]), "COMP_CWORD": str(len(words))}
    environment = {**os.environ, **typed, "_SEGPIPE_COMPLETE": "zsh_complete"}
    done = subprocess.run([BIN / "segpipe"], env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()[1::3]


def test_commands_and_options_are_completed():
    assert {"run", "predict", "export", "status"} <= set(offered(""))
    assert offered("exp") == ["export"]
    assert offered("export", "--form") == ["--format"]
    assert offered("export", "--format", "") == ["tflite", "onnx"]


def test_runs_are_completed_newest_first(workspace):
    typed = ("bless", "--workspace", str(workspace))
    runs = [f"2026-11-0{day}T08:00:00.000001" for day in (3, 2)]
    assert offered(*typed, "") == ["latest", *runs]
    assert offered(*typed, "2026-11-02") == [runs[1]]


def test_versions_are_completed_newest_first(workspace):
    typed = ("predict", "--workspace", str(workspace), "--version")
    assert offered(*typed, "") == ["10", "9"]
    assert offered(*typed, "1") == ["10"]


@pytest.mark.parametrize("content", [None, b"", b"no database" * 100], ids=["missing", "empty", "damaged"])
def test_a_workspace_without_readable_runs_disturbs_nobody(tmp_path, content):
    if content is not None:
        (tmp_path / "metadata.db").write_bytes(content)
    assert offered("bless", "--workspace", str(tmp_path), "") == ["latest"]
    assert offered("export", "--workspace", str(tmp_path), "--version", "") == []


def test_bash_completes_once_its_script_is_read(workspace):
    """The line of the documentation in a real bash, then what bash itself does when tab is pressed."""
    script = f"""
    PATH={BIN}:$PATH
    eval "$(_SEGPIPE_COMPLETE=bash_source segpipe)"
    complete -p segpipe
    COMP_WORDS=(segpipe predict --workspace {workspace} --version 1) COMP_CWORD=5
    _segpipe_completion segpipe
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([shutil.which("bash"), "-ec", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    function, answer = done.stdout.splitlines()
    assert "-F _segpipe_completion segpipe" in function
    assert answer == "10"


@pytest.mark.parametrize("shell, hook", [("zsh", "compdef"), ("fish", "complete --no-files --command segpipe")])
def test_zsh_and_fish_get_a_script(shell, hook):
    environment = {**os.environ, "_SEGPIPE_COMPLETE": f"{shell}_source"}
    done = subprocess.run([BIN / "segpipe"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert hook in done.stdout


def test_completion_does_not_wait_for_heavy_libraries(workspace):
    script = f"""
import json, sys
import click
from pipeline.cli import main
from pipeline.completion import complete_run, complete_version
context = click.Context(main, info_name="segpipe")
context.params["workspace"] = {str(workspace)!r}
complete_run(context, None, ""), complete_version(context, None, "")
print(json.dumps(sorted({{"tensorflow", "tfx", "ml_metadata", "apache_beam"}} & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
