"""The Debian 13 root of make test-next: what is missing for one is said in one sentence."""

import os
import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
sys.path.insert(0, str(TOOLS))

import debian_root  # noqa: E402


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(debian_root, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "cache"


def test_who_is_not_root_is_told_so_before_anything_is_made(cache, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["suite_in_debian.py", "2"])
    with pytest.raises(SystemExit, match="^make test-next: .* by root alone; run this as root, by sudo for instance$"):
        runpy.run_path(str(TOOLS / "suite_in_debian.py"), run_name="__main__")
    assert not cache.exists()


def test_without_debootstrap_its_package_is_named(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        debian_root.RootError, match="which is not here; install the package debootstrap and try again$"
    ):
        debian_root.bare_root()


def test_why_debootstrap_failed_is_told_and_the_next_call_begins_anew(cache, tmp_path, monkeypatch):
    command = tmp_path / "debootstrap"
    command.write_text(f'#!/bin/sh\n/bin/mkdir "$4"\necho "E: no such suite"\necho again >> {tmp_path}/calls\nexit 1\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for _ in range(2):
        with pytest.raises(
            debian_root.RootError, match=r"failed \(E: no such suite\); .* name a mirror in SEGPIPE_MIRROR"
        ):
            debian_root.bare_root()
    assert (tmp_path / "calls").read_text().split() == ["again", "again"]
