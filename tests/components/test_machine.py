"""What is counted as free: cores, memory, and how many processes both allow."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from components import machine
from components.machine import free_memory, useful_processes

GB = 1 << 30


def test_cores_that_a_process_is_not_bound_to_do_not_count():
    count = "from components.machine import usable_cores; print(usable_cores())"
    bound = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {count}"
    assert subprocess.run([sys.executable, "-c", bound], capture_output=True, text=True).stdout == "1\n"


def test_a_containers_limit_counts(tmp_path):
    # What a kernel with cgroups shows in a container that may use one and a half cores.
    count = f"""
import builtins, os
real_open, real_exists = builtins.open, os.path.exists
limit, given = "/sys/fs/cgroup/cpu.max", {str(tmp_path / "cpu.max")!r}
os.path.exists = lambda path: path == limit or real_exists(path)
builtins.open = lambda path, *rest, **more: real_open(given if path == limit else path, *rest, **more)
os.cpu_count = lambda: 16
os.sched_getaffinity = lambda process: set(range(16))
from components.machine import usable_cores
print(usable_cores())
"""
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    ended = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True)
    assert ended.stdout == "2\n", ended.stderr


@pytest.fixture
def cgroups(monkeypatch, tmp_path) -> Path:
    """What a kernel shows of a container's limits, on a machine of 100 GB: nothing yet."""
    monkeypatch.setattr(machine, "_CGROUPS", str(tmp_path))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * GB))
    (tmp_path / "memory").mkdir()
    return tmp_path


def limit(folder: Path, files: tuple[str, str, str], most: object, used: int, droppable: int) -> None:
    limit_file, used_file, name = files
    (folder / limit_file).write_text(f"{most}\n")
    (folder / used_file).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 17\n{name} {droppable}\n")


VERSION_2 = ("memory.max", "memory.current", "inactive_file")
VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_a_machine_without_limits_gives_what_it_has(cgroups):
    assert free_memory() == 100 * GB


@pytest.mark.parametrize(("files", "folder"), [(VERSION_2, ""), (VERSION_1, "memory")], ids=["version 2", "version 1"])
@pytest.mark.parametrize(
    ("most", "used", "droppable", "free"),
    [
        (4 * GB, 1 * GB, 0, 3 * GB),
        (4 * GB, 4 * GB, 2 * GB, 2 * GB),
        (200 * GB, 0, 0, 100 * GB),
        (4 * GB, 5 * GB, 0, 0),
    ],
    ids=["what is taken", "what the kernel drops", "more than there is", "over the limit"],
)
def test_a_container_gives_what_its_limit_leaves(cgroups, files, folder, most, used, droppable, free):
    limit(cgroups / folder, files, most, used, droppable)
    assert free_memory() == free


def test_a_container_without_a_limit_is_as_large_as_the_machine(cgroups):
    limit(cgroups, VERSION_2, "max", 7 * GB, 0)
    assert free_memory() == 100 * GB


def test_this_machine_has_memory_left():
    assert 0 < free_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("photos", "free_gb", "processes"),
    [(4_999, 100, 1), (5_000, 100, 2), (1_000_000, 100, 8), (1_000_000, 3, 3), (1_000_000, 0, 1)],
)
def test_so_many_processes_as_work_cores_and_memory_allow(monkeypatch, photos, free_gb, processes):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(machine, "free_memory", lambda: free_gb * GB)
    assert useful_processes(photos, 2_500, GB) == processes
