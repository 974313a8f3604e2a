"""`segpipe ingest --download`: archives are fetched, unpacked and then ingested like any folder."""

import os
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from components.errors import UsageError
from components.ingest.archive import unpack
from components.ingest.datasets import Archive, Dataset
from components.ingest.download import fetch
from components.secrets import resolved
from pipeline.config import Config
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Downloaded:
    """The folders of a dataset on this machine."""

    images: str
    masks: str
    split_lists: str | None


def download(config: Config, workspace: Workspace, name: str, quiet: bool = False) -> Downloaded:
    """Fetches what is missing of a dataset, as the only writer of the workspace, with a bar on standard error.

    Args:
      config: `downloads` says where it is.
      workspace: it lands in `downloads/<name>/`; archives are removed once they are unpacked.
      name: of the dataset.
      quiet: show no bar.

    Raises:
      UsageError: if there is no such dataset.
      SegpipeError: see `fetch` and `unpack`.
    """
    if name not in config.downloads:
        known = ", ".join(config.downloads)
        raise UsageError(f"--download {name}: is none of {known}; choose one or add it to downloads in the config")
    dataset, folder = config.downloads[name], os.path.join(workspace.downloads, name)
    with workspace.writer("download"):
        for archive in dataset.archives:
            if not os.path.isdir(os.path.join(folder, archive.holds)):
                _get(dataset, archive, folder, f"downloads.{name}.base_url", quiet)
    inside = {key: getattr(dataset, key) for key in ("images", "masks", "split_lists")}
    return Downloaded(**{key: path and os.path.join(folder, path) for key, path in inside.items()})


def _get(dataset: Dataset, archive: Archive, folder: str, field: str, quiet: bool) -> None:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, archive.name)
    url = resolved(dataset.base_url, field).rstrip("/") + "/" + archive.name
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True, quiet=quiet)) as progress:
        task = progress.add_task(archive.name, total=archive.bytes)
        fetch(url, path, archive.bytes, archive.sha256, lambda there: progress.update(task, completed=there))
        progress.update(task, description=f"unpacking {archive.name}")
        unpack(path, folder, archive.holds, dataset.max_bytes, dataset.max_files)
    os.remove(path)
