"""Files beside the artifacts that pile up with the runs: logs, reports, and what runs read by path."""

import os
import re
import time
from dataclasses import dataclass

from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace

_BY_CONTENT = re.compile(r"[0-9a-f]{16}")
_LOG = re.compile(r"[a-z]+-(\d{8}-\d{6})\.log")


@dataclass(frozen=True)
class Kept:
    """What stays: the newest runs; those and the runs of served models; what their executions' properties say."""

    newest: list[RunRecord]
    runs: list[RunRecord]
    texts: list[str]


def old_files(workspace: Workspace, kept: Kept) -> dict[str, list[str]]:
    """Kind -> paths of files and folders that belong to no run that stays."""
    return {
        "logs": _logs(workspace, kept),
        "reports": _reports(workspace, kept),
        "schemas": _by_content(workspace.schemas, kept),
        "windows": _by_content(os.path.join(workspace.data, "windows"), kept),
        "listings": _by_content(os.path.join(workspace.data, "listings"), kept),
    }


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _by_content(folder: str, kept: Kept) -> list[str]:
    """Folders named by the hash of their content whose path no execution names."""
    paths = [os.path.join(folder, name) for name in _names(folder) if _BY_CONTENT.fullmatch(name)]
    return [path for path in paths if not any(path in text for text in kept.texts)]


def _reports(workspace: Workspace, kept: Kept) -> list[str]:
    stay = {workspace.report(run.run_id) for run in kept.runs}
    return [path for name in _names(workspace.reports) if (path := os.path.join(workspace.reports, name)) not in stay]


def _logs(workspace: Workspace, kept: Kept) -> list[str]:
    """Logs that ended before the oldest of the newest runs began, but for those in which a run that stays began."""
    since = min((run.started for run in kept.newest), default=0.0)
    old = []
    for name in _names(workspace.logs):
        path, match = os.path.join(workspace.logs, name), _LOG.fullmatch(name)
        if match is None:
            continue
        began, ended = time.mktime(time.strptime(match[1], "%Y%m%d-%H%M%S")), os.path.getmtime(path)
        if ended < since and not any(began <= run.started <= ended for run in kept.runs):
            old.append(path)
    return old
