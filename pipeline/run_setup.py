"""What a run was started with: its config, the versions and the source that ran it.

Kept as `setup.json` in the folder of the run's report from before its first component on, so that a killed run tells it
too. What looks like a secret is not kept.
"""

import os
import platform
import subprocess
from importlib import metadata
from typing import Any

from components.ingest.spans import Record, read_record, write_record
from components.secrets import REFERENCE, SECRET_NAME, shown
from pipeline.fingerprint import fingerprint
from pipeline.workspace import Workspace

SETUP = "setup.json"
HIDDEN = "(hidden)"

_PACKAGES = ("segpipe", "tfx", "tensorflow", "keras", "apache-beam", "tensorflow-data-validation", "ml-metadata")


class RunSetup(Record):
    """How a run was started, and what it raised.

    Attributes:
      config: every setting, what looks like a secret hidden.
      engine: `local`, `beam`, `kubeflow` or `vertex`.
      versions: package -> version, `python` and `system` among them.
      commit: of the git repository that the source is in, with `+` if files differ from it; None outside of one.
      source: fingerprint of all source that a run can reach.
      log: path of the log, or None where the output goes elsewhere.
      error: what ended the run, in one line, or None.
      ended: when its exit handler began, in seconds since 1970; None before, and on engines that have none.
    """

    config: dict[str, Any]
    engine: str
    versions: dict[str, str]
    commit: str | None
    source: str
    log: str | None = None
    error: str | None = None
    ended: float | None = None


def describe_run(config: dict[str, Any], engine: str, log: str | None) -> RunSetup:
    """What a run that starts now is started with; `config` is the dump of a `Config`."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    versions |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    return RunSetup(
        config=without_secrets(config),
        engine=engine,
        versions=versions,
        commit=_commit(__file__),
        source=fingerprint("pipeline.local_runner"),
        log=log,
    )


def without_secrets(value: Any, key: str = "") -> Any:
    """Plain data as it may be told: values of keys such as `password` hidden, web addresses without their users.

    The config refuses secrets and takes `${NAME}` in their place, which stays; this is for what it does not know yet.
    """
    if isinstance(value, dict):
        return {name: without_secrets(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner, key) for inner in value]
    if SECRET_NAME.search(key) and value is not None and not REFERENCE.fullmatch(str(value)):
        return HIDDEN
    return shown(value) if isinstance(value, str) else value


def _commit(file: str) -> str | None:
    """The commit that a file of the source is at; None if git or the repository is not there or does not hold it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", os.path.dirname(os.path.abspath(file)), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", os.path.basename(file))
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def write_setup(workspace: Workspace, run_id: str, setup: RunSetup) -> None:
    """Keeps a setup with its run, over what was kept before."""
    folder = workspace.report(run_id)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, SETUP)
    write_record(path + ".part", setup)
    os.replace(path + ".part", path)


def read_setup(workspace: Workspace, run_id: str) -> RunSetup | None:
    """What `write_setup` kept; None for a run of an older version, or if the file is damaged."""
    try:
        return read_record(os.path.join(workspace.report(run_id), SETUP), RunSetup)
    except (OSError, ValueError):
        return None
