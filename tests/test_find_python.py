"""Which TFX a machine runs: the choice is made from its glibc and the Pythons that are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "find_python.sh"


def choose(folder: Path, glibc: str, *pythons: str) -> subprocess.CompletedProcess:
    """Runs the script on a machine of which it sees this glibc and these Pythons alone."""
    (folder / "getconf").write_text(f"#!/bin/sh\necho glibc {glibc}\n")
    for python in pythons:
        # Answers for the version in its name, as a Python with venv and headers does.
        (folder / python).write_text(f'#!/bin/sh\n[ "{python}" = "python$3" ]\n')
    for path in folder.iterdir():
        path.chmod(0o755)
    for tool in ("ls", "sh", "sort", "head", "tail"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    environment = {"PATH": str(folder), "HOME": str(folder)}
    return subprocess.run(["/bin/sh", str(SCRIPT)], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "glibc, pythons, chosen",
    [
        ("2.36", ["python3.10"], "1.16 python3.10"),
        ("2.36", ["python3.10", "python3.13"], "1.16 python3.10"),
        ("2.39", ["python3.12"], "1.21 python3.12"),
        ("2.41", ["python3.10", "python3.11", "python3.13"], "1.21 python3.13"),
        ("2.41", ["python3.10"], "1.16 python3.10"),
        ("2.41", ["python3.14", "python3.10"], "1.16 python3.10"),
    ],
)
def test_the_newest_tfx_that_glibc_and_python_allow_is_chosen(tmp_path, glibc, pythons, chosen):
    done = choose(tmp_path, glibc, *pythons)
    tfx, python = chosen.split()
    assert (done.returncode, done.stdout) == (0, f"{tfx} {tmp_path / python}\n"), done.stderr


@pytest.mark.parametrize(
    "glibc, pythons, missing",
    [("2.36", ["python3.13"], "3.10"), ("2.41", [], "3.13"), ("2.41", ["python3.14"], "3.13")],
)
def test_where_none_fits_one_sentence_says_what_to_install(tmp_path, glibc, pythons, missing):
    done = choose(tmp_path, glibc, *pythons)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert f"segpipe needs Python {missing} with venv and headers" in done.stderr


def test_this_machine_runs_the_tfx_that_is_chosen_for_it():
    from tfx import version

    done = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, check=True)
    tfx, _, python = done.stdout.strip().partition(" ")
    assert version.__version__.startswith(tfx + ".")
    told = subprocess.run([python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)
    assert told.stdout.strip() == str(sys.version_info[:2]) and os.path.isabs(python)
