"""What scheduled runs of Vertex AI read: a pointer at the root, which each job follows once.

The parameters of a schedule never change, so they name the pointer. The first container of a job that follows it keeps
what it found for the others, which then read the same, however far the pointer has moved.
"""

import contextlib
import json
import os
import posixpath
import re
from collections.abc import Callable

_FOLDER, _FILE, _KEPT = "newest", "inputs.json", "runs"


def pointers(root: str, names: list[str]) -> dict[str, str]:
    """Values for the parameters of a schedule.

    Args:
      root: address that everything is below.
      names: of the parameters; see `pipeline.remote.INPUTS`.
    """
    return {name: posixpath.join(root, _FOLDER, name) for name in names}


def point(root: str, paths: dict[str, str]) -> None:
    """Lets the scheduled runs that start from now on read this.

    Args:
      root: folder or address.
      paths: parameter -> path below the root.
    """
    from pipeline.remote import created

    with created(posixpath.join(root, _FOLDER, _FILE)) as file:
        file.write(json.dumps(paths, sort_keys=True).encode())


def followed(values: dict, job: str, mounted: Callable[[str], str]) -> dict:
    """Values of parameters with what the pointers among them point to in this job.

    Args:
      values: parameter -> value.
      job: name of the job.
      mounted: address -> path where this machine sees it.
    """
    found = dict(values)
    for name, value in values.items():
        match = re.fullmatch(rf"(.+)/{_FOLDER}/(\w+)", value) if isinstance(value, str) else None
        if match:
            found[name] = posixpath.join(match[1], _kept(mounted(match[1]), job)[match[2]])
    return found


def _kept(root: str, job: str) -> dict[str, str]:
    path = os.path.join(root, _KEPT, f"{job}.json")
    if not os.path.exists(path):
        with open(os.path.join(root, _FOLDER, _FILE), encoding="utf-8") as file:
            text = file.read()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Of two containers that start at once one keeps it; a bucket tells the other one only when it closes the file.
        with contextlib.suppress(OSError), open(path, "x", encoding="utf-8") as file:
            file.write(text)
    with open(path, encoding="utf-8") as file:
        return json.load(file)
