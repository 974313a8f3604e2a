"""Ingest from the command line's view: one writer, and a bar that follows the bytes of the shards."""

import glob
import logging
import os
import sys
import threading

from rich.console import Console
from rich.progress import Progress

from components.ingest.spans import file_size
from pipeline.beam_arguments import check_local, ingest_values
from pipeline.config import Config
from pipeline.workspace import Workspace


def ingest_with_progress(
    config: Config,
    workspace: Workspace,
    images: str,
    masks: str,
    split_lists: str | None,
    span: int | None,
    quiet: bool,
    only_new: bool,
):
    """Runs `components.ingest.ingest.ingest` as the only writer of the workspace and returns its outcome."""
    if workspace.is_copy:
        check_local(config, "--workspace", ["ingest"])
    # Where nobody watches, a bar leaves an empty line.
    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    with workspace.writer("ingest"), Progress(console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        from components.ingest.ingest import ingest

        # A variable that is not set is told before anything is read.
        beam_args = ingest_values(config)
        # Beam writes the traceback of what it raises to standard error too, before anyone can tell it in a sentence.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        total = _bytes_in(images) + _bytes_in(masks)
        progress.update(task, description="ingesting", total=total or None)
        finished = threading.Event()

        def follow() -> None:
            # Shards grow in worker processes too; their sizes are what all runners show alike.
            while not finished.wait(0.3):
                shards = glob.glob(os.path.join(workspace.data, ".span-*", "*.tfrecord"))
                progress.update(task, completed=sum(map(file_size, shards)))

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            settings = (config.features, config.data)
            return ingest(workspace.data, images, masks, *settings, split_lists, span, beam_args, only_new)
        finally:
            finished.set()
            follower.join()


def _bytes_in(folder: str) -> int:
    """Size of all files; 0 for a folder that cannot be read, over which the ingest itself will complain."""
    if not os.access(folder, os.R_OK | os.X_OK) or not os.path.isdir(folder):
        return 0
    return sum(file_size(entry.path) for entry in os.scandir(folder) if not os.path.isdir(entry.path))
