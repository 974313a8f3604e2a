"""How many cores are counted."""

import os
import subprocess
import sys


def test_cores_that_a_process_is_not_bound_to_do_not_count():
    count = "from components.cores import usable_cores; print(usable_cores())"
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
from components.cores import usable_cores
print(usable_cores())
"""
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    ended = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True)
    assert ended.stdout == "2\n", ended.stderr
