"""Every command of README and docs, run as written in a fresh clone, in the order that a reader meets them."""

import contextlib
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
def sessions():
    """Process groups of the blocks; a server that one of them left running ends here."""
    groups = []
    yield groups
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)


@pytest.fixture(scope="module")
def tfx_home(tmp_path_factory):
    """Where the `tfx` command keeps its pipelines: a new reader has none of this name in the home folder."""
    return str(tmp_path_factory.mktemp("tfx"))


def test_every_page_is_linked_from_the_readme():
    assert set(_pages()) == {"README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_do_what_the_page_says(block, clone, sessions, tfx_home):
    if block.mark in NOT_RUN:
        pytest.skip(f"command block {NOT_RUN[block.mark]}")
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", block.commands],
        cwd=clone,
        env=os.environ | {"LOCAL_HOME": tfx_home},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        sessions.append(running.pid)
        output, _ = running.communicate(timeout=1200)
    assert running.returncode == 0, f"{block}: exit {running.returncode}\n{output[-6000:]}"
    missing = missing_line(block.promised, output)
    assert missing is None, f"{block}: {missing!r} is not in\n{output[-6000:]}"
