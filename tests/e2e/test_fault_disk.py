"""A full disk, a real one: one sentence that says which, nothing lost of what was served, and a run that goes on from
there once there is room.
"""

import ctypes
import os
import re
from pathlib import Path

import pytest
from warm import Warm
from workbench import TINY, Bench, drawn

from pipeline.records import newest_run

pytestmark = pytest.mark.e2e

_libc = ctypes.CDLL(None, use_errno=True)
_REMOUNT = 32
_DETACH = 2
_ROOMY = 256 << 20


class Disk:
    """A tmpfs of a few bytes on a folder."""

    def __init__(self, folder: Path, size: int = _ROOMY):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount(0, size)

    def _mount(self, flags: int, size: int) -> None:
        failed = _libc.mount(b"tmpfs", bytes(self.folder), b"tmpfs", flags, f"size={size}".encode())
        if failed:
            error = ctypes.get_errno()
            if not flags:
                pytest.skip(f"no tmpfs can be mounted here ({os.strerror(error)}); run as root to test full disks")
            raise OSError(error, os.strerror(error), str(self.folder))

    def leave(self, free: int) -> None:
        """Resizes it so that this many bytes are free."""
        used = os.statvfs(self.folder)
        self._mount(_REMOUNT, (used.f_blocks - used.f_bfree) * used.f_frsize + free)

    def make_room(self) -> None:
        self._mount(_REMOUNT, _ROOMY)

    def unmount(self) -> None:
        _libc.umount2(bytes(self.folder), _DETACH)


@pytest.fixture(scope="module")
def disk():
    """Makes disks, which are gone afterwards."""
    made = []

    def make(folder: Path, size: int = _ROOMY) -> Disk:
        made.append(Disk(folder, size))
        return made[-1]

    yield make
    for each in reversed(made):
        each.unmount()


@pytest.fixture(scope="module")
def bench(tmp_path_factory, disk):
    """A workspace on a disk of its own."""
    bench = Bench(tmp_path_factory.mktemp("disk"))
    bench.disk = disk(bench.workspace)
    drawn(bench.folder / "drawn")
    return bench


def _ingest(warm: Warm, bench: Bench):
    drawing = bench.folder / "drawn"
    folders = ("--images", drawing / "images", "--masks", drawing / "annotations" / "trimaps")
    return warm.segpipe(bench, "ingest", *folders, "--config", bench.config)


def _assert_told(process, folder: Path) -> None:
    """One sentence on standard error: the folder, the reason, the mend."""
    assert process.wait() == 1, process.stderr
    said = [line for line in process.stderr.splitlines() if line.startswith("segpipe: ")]
    assert len(said) == 1 and "Traceback" not in process.stdout + process.stderr, process.stderr
    named = re.search(r"no space left on the disk of (\S+) \([\d.]+ MB free now\); make room there", said[0])
    assert named and Path(named[1]).is_relative_to(folder), said[0]


def _run(warm: Warm, bench: Bench):
    return warm.segpipe(bench, "run", "--config", bench.config)


def test_ingest_says_which_disk_is_full_and_finishes_once_there_is_room(warm, bench, disk):
    small = disk(bench.workspace / "data", 64 << 10)
    _assert_told(_ingest(warm, bench), small.folder)
    assert os.listdir(small.folder) == []
    small.make_room()
    process = _ingest(warm, bench)
    assert process.wait() == 0, process.stderr
    assert os.listdir(small.folder) == ["span-1"]


@pytest.fixture(scope="module")
def served(warm, bench, disk):
    """The disk of pushed models, and what is live before the disks run full: name -> bytes."""
    serving = disk(bench.serving)
    if not (bench.workspace / "data" / "span-1").exists():
        assert _ingest(warm, bench).wait() == 0
    warm.run(bench)
    # Everything from Transform on is new from here on, and each step is written down.
    bench.sections = {
        "features": {"height": 48, "width": 32},
        "training": TINY["training"] | {"checkpoint_seconds": 0.0},
    }
    return serving, _files(bench.serving)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _assert_goes_on_from(bench: Bench, node: str, served: dict[str, bytes]) -> None:
    run = newest_run(str(bench.workspace / "metadata.db"))
    assert (run.verdict, run.nodes[node].state) == ("failed", "failed")
    assert {n.name for n in run.nodes.values() if n.state == "failed"} == {node}
    assert _files(bench.serving) == served


def test_transform_on_a_full_disk(warm, bench, disk, served):
    small = disk(bench.workspace / "pipeline_root" / "Transform", 16 << 10)
    _assert_told(_run(warm, bench), small.folder)
    _assert_goes_on_from(bench, "Transform", served[1])
    small.make_room()


def test_a_checkpoint_on_a_full_disk(warm, bench, disk, served):
    small = disk(bench.workspace / "checkpoints", 16 << 10)
    _assert_told(_run(warm, bench), small.folder)
    _assert_goes_on_from(bench, "Trainer", served[1])
    assert list(small.folder.glob("*.part")) == []
    small.make_room()


def test_a_push_to_a_full_disk(warm, bench, served):
    serving, before = served
    serving.leave(64 << 10)
    _assert_told(_run(warm, bench), serving.folder)
    _assert_goes_on_from(bench, "AtomicPusher", before)
    serving.make_room()


def test_a_workspace_without_any_room(warm, bench, served):
    bench.disk.leave(0)
    _assert_told(_run(warm, bench), bench.workspace)
    assert _files(bench.serving) == served[1]
    bench.disk.make_room()


def test_once_there_is_room_the_run_finishes_from_where_it_failed(warm, bench, served):
    warm.run(bench)
    run = newest_run(str(bench.workspace / "metadata.db"))
    assert run.verdict == "pushed"
    assert all(run.nodes[node].state == "cached" for node in ("StatisticsGen", "Transform", "Trainer", "ModelCanary"))
    assert served[1].items() < _files(bench.serving).items()
