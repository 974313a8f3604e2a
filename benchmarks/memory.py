"""Memory and time a photo of ingest and of a run as the data grow; one process's largest resident size is what counts.

.venv/bin/python benchmarks/memory.py [--photos 600 --photos 6000 --photos 60000]

Draws so many photos each time, ingests them and runs the pipeline with a training of 20 steps. 60,000 photos take 3 GB
of disk and about an hour on two cores.
"""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time

import click
import psutil
import yaml
from figures import Figure, report
from stage_speed import SHORT

_POLL_SECONDS = 0.2


class Watched:
    """A command, its seconds (elapsed, and of processors) and the largest resident size of one of its processes."""

    def __init__(self, command: list[str]):
        started, used = time.perf_counter(), _used_by_children()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.peak = 0
        watcher = threading.Thread(target=self._watch, args=(psutil.Process(process.pid),), daemon=True)
        watcher.start()
        if process.wait():
            raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
        self.seconds = time.perf_counter() - started
        self.used = _used_by_children() - used
        watcher.join()

    def _watch(self, root: psutil.Process) -> None:
        while True:
            try:
                for process in (root, *root.children(recursive=True)):
                    self.peak = max(self.peak, process.memory_info().rss)
                if root.status() == psutil.STATUS_ZOMBIE:
                    return
            except psutil.NoSuchProcess:
                if not root.is_running():
                    return
            time.sleep(_POLL_SECONDS)


def _used_by_children() -> float:
    """Seconds of processors that all commands so far took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(photos: int) -> tuple[Watched, Watched]:
    """Ingest and run of so many photos."""
    segpipe = os.path.join(os.path.dirname(sys.executable), "segpipe")
    with tempfile.TemporaryDirectory() as root:
        drawn, config = f"{root}/drawn", f"{root}/config.yaml"
        with open(config, "w", encoding="utf-8") as file:
            yaml.safe_dump(SHORT, file)
        place = ["--workspace", f"{root}/workspace", "--config", config]
        folders = ["--images", f"{drawn}/images", "--masks", f"{drawn}/annotations/trimaps"]
        subprocess.run([segpipe, "draw", "--output", drawn, "--photos", str(photos)], check=True)
        ingest = Watched([segpipe, "ingest", *folders, "--split-lists", f"{drawn}/annotations", *place])
        return ingest, Watched([segpipe, "run", *place])


@click.command()
@click.option("--photos", multiple=True, type=int, default=(600, 6000, 60000), show_default=True)
@click.option("--figures", help="A file of JSON lines to append the rows to.")
def main(photos: tuple[int, ...], figures: str | None) -> None:
    """Measures each number of photos and prints them beside the one before."""
    rows, before = [], {}
    for count in photos:
        for what, watched in zip(("ingest", "run"), measure(count), strict=True):
            now = watched.peak / 2**20, 1000 * watched.seconds / count
            print(
                f"{count} photos, {what}: {now[0]:,.0f} MB, {watched.seconds:.0f} s, {now[1]:.2f} ms a photo, "
                f"of processors {watched.used:.0f} s, {1000 * watched.used / count:.2f} ms",
                flush=True,
            )
            if what in before:
                rows += compared(f"{what} of {count}", now, *before[what])
            before[what] = f"of {count}", now
    report(f"a process's memory, and the time a photo, {len(os.sched_getaffinity(0))} cores", rows, figures)


def compared(what: str, now: tuple[float, float], comparison: str, then: tuple[float, float]) -> list[Figure]:
    """Megabytes and milliseconds a photo beside those of fewer photos."""
    (size, each), (size_then, each_then) = now, then
    return [
        Figure(f"memory, {what}", f"{size:,.0f} MB", comparison, f"{size_then:,.0f} MB", size / size_then, "< 2.5 GB"),
        Figure(f"time, {what}", f"{each:.2f} ms", comparison, f"{each_then:.2f} ms", each / each_then, "1.1"),
    ]


if __name__ == "__main__":
    main()
