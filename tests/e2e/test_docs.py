"""Every command of README and docs, run as written in a fresh clone, in the order that a reader meets them."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from markdown_commands import NOT_RUN, missing_line, read_blocks

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]


def _pages() -> list[str]:
    """README, then the pages of docs/ in the order in which it links them."""
    linked = re.findall(r"\((docs/[\w-]+\.md)[)#]", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    return ["README.md", *dict.fromkeys(linked)]


BLOCKS = [block for page in _pages() for block in read_blocks(REPOSITORY / page, page)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The files that git knows, in a folder of their own."""
    folder = tmp_path_factory.mktemp("clone") / "segpipe"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def background(clone):
    """Starts what goes on beside later blocks; a page's servers must end by SIGTERM as good servers do."""
    running = {}

    def of_page(page: str, commands: str | None = None) -> None:
        for other in [name for name in running if name != page or commands is not None]:
            server = running.pop(other)
            os.killpg(server.pid, signal.SIGTERM)
            assert server.wait(timeout=60) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        if commands is not None:
            running[page] = subprocess.Popen(["bash", "-c", commands], cwd=clone, start_new_session=True)

    yield of_page
    of_page("")


def test_every_page_is_linked_from_the_readme():
    assert set(_pages()) == {"README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_do_what_the_page_says(block, clone, background):
    if block.mark in NOT_RUN:
        pytest.skip(f"command block {NOT_RUN[block.mark]}")
    if block.mark == "background":
        background(block.page, block.commands)
        return
    background(block.page)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.commands],
        cwd=clone,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, f"{block}: exit {done.returncode}\n{done.stdout[-6000:]}"
    missing = missing_line(block.promised, done.stdout)
    assert missing is None, f"{block}: {missing!r} is not in\n{done.stdout[-6000:]}"
