"""What this machine has to give, or the container that is all of it to this process."""

import os

_CGROUPS = "/sys/fs/cgroup"
# Of cgroups version 2 and 1: the limit, what is taken, the statistics, and there the name of what the kernel can drop.
_MEMORY_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than the limit of its container (cgroups)."""
    # It takes 0.2 s to import, which a command that counts no cores need not wait for.
    from joblib import cpu_count

    return cpu_count()


def free_memory() -> int:
    """Bytes that processes may still take: what the machine has left, and no more than its container's limit leaves."""
    import psutil

    free = psutil.virtual_memory().available
    for limit, used, statistics, droppable in _MEMORY_FILES:
        if os.path.exists(os.path.join(_CGROUPS, limit)):
            most = _read(limit).strip()
            if most != "max":
                dropped = dict(line.split() for line in _read(statistics).splitlines())[droppable]
                free = min(free, int(most) - int(_read(used)) + int(dropped))
    return max(free, 0)


def _read(name: str) -> str:
    with open(os.path.join(_CGROUPS, name), encoding="ascii") as file:
        return file.read()


def useful_processes(work: int, work_each: int, bytes_each: int) -> int:
    """How many processes do some work fastest.

    Args:
      work: how much there is, such as a number of photos.
      work_each: the least that makes a further process worth its start.
      bytes_each: memory that a process takes.

    Returns:
      At least 1; at most one for each of the usable cores and for each so many bytes of free memory.
    """
    return max(1, min(usable_cores(), free_memory() // bytes_each, work // work_each))
