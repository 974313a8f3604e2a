"""Downloads over real HTTP on loopback: interrupted, resumed, refused, wrong, and onto a full disk."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from file_server import Served, serving

from components.errors import SegpipeError
from components.ingest import download
from components.ingest.download import fetch

CONTENT = random.Random(5).randbytes(3_000_000)
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.01)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "pets" / "images.tar.gz"


def get(served: Served, path: Path, **wanted) -> list[int]:
    """Downloads; returns what the progress said."""
    path.parent.mkdir(exist_ok=True)
    there: list[int] = []
    fetch(served.url + "a", str(path), **{"size": SIZE, "sha256": SHA256, "progress": there.append} | wanted)
    return there


def refusal(served: Served, path: Path, **wanted) -> str:
    with pytest.raises(SegpipeError) as caught:
        get(served, path, **wanted)
    message = str(caught.value)
    assert "\n" not in message and not path.exists()
    return message


def asked_from(served: Served) -> list[str | None]:
    return [headers.get("Range") for headers in served.asked]


def test_a_file_arrives_whole_and_progress_grows_to_its_size(path):
    with serving({"/a": CONTENT}) as served:
        there = get(served, path)
    assert path.read_bytes() == CONTENT
    assert there == sorted(there) and there[-1] == SIZE and len(there) > 3
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_is_there_is_not_asked_for_again(path):
    with serving({"/a": CONTENT}) as served:
        get(served, path)
        assert get(served, path) == [SIZE]
    assert len(served.asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(path):
    with serving({"/a": CONTENT}, cuts=[1_000_000, 500_000]) as served:
        get(served, path)
    assert path.read_bytes() == CONTENT
    assert asked_from(served) == [None, "bytes=1000000-", "bytes=1500000-"]
    assert {headers.get("If-Range") for headers in served.asked[1:]} == {'"1"'}


def test_a_server_without_ranges_is_asked_for_all_of_it_again(path):
    with serving({"/a": CONTENT}, cuts=[1_000_000], ranges=False) as served:
        get(served, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("tag", [None, 'W/"1"'], ids=["none", "weak"])
def test_without_a_tag_that_promises_the_same_bytes_nothing_is_appended(path, tag):
    with serving({"/a": CONTENT}, cuts=[1_000_000], tag=tag) as served:
        get(served, path)
    assert path.read_bytes() == CONTENT
    assert asked_from(served) == [None, None]


def test_a_file_that_changed_meanwhile_is_begun_anew(path):
    with serving({"/a": bytes(SIZE)}, cuts=[1_000_000] + [0] * 9) as served:
        refusal(served, path)
        served.files["/a"], served.tag, served.cuts = CONTENT, '"2"', []
        get(served, path)
    assert path.read_bytes() == CONTENT


_FETCH = """
import sys
from components.ingest.download import fetch
fetch(sys.argv[1], sys.argv[2], {}, {!r}, lambda there: None)
"""


def test_a_killed_download_goes_on_where_it_was(path):
    path.parent.mkdir()
    part = Path(f"{path}.part")
    with serving({"/a": CONTENT}, pause=0.05) as served:
        command = [sys.executable, "-c", _FETCH.format(SIZE, SHA256), served.url + "a", str(path)]
        with subprocess.Popen(command) as killed:
            while not (part.exists() and part.stat().st_size > 500_000):
                assert killed.poll() is None
                time.sleep(0.01)
            killed.send_signal(signal.SIGKILL)
        kept = part.stat().st_size
        assert 500_000 < kept < SIZE and not path.exists()
        served.pause = 0
        there = get(served, path)
    assert path.read_bytes() == CONTENT
    assert asked_from(served) == [None, f"bytes={kept}-"] and there[0] > kept


def test_a_connection_that_keeps_breaking_ends_with_how_far_it_came(path):
    with serving({"/a": CONTENT}, cuts=[1_000_000] + [0] * 9) as served:
        message = refusal(served, path)
        assert f"{served.url}a: the connection broke 5 times" in message
        assert f"after 1000000 of {SIZE} bytes; run the command again, it goes on from there" in message
        served.cuts = []
        get(served, path)
    assert asked_from(served)[-1] == "bytes=1000000-"


def test_a_busy_server_is_asked_again(path):
    with serving({"/a": CONTENT}, statuses=[503, 429]) as served:
        get(served, path)
    assert (path.read_bytes(), len(served.asked)) == (CONTENT, 3)


def test_what_the_server_refuses_is_said_at_once(path):
    with serving({}) as served:
        assert f"{served.url}a: the server answers 404 Not Found; check downloads" in refusal(served, path)
    assert len(served.asked) == 1


def test_a_server_that_is_not_there_is_named(path):
    with serving({}) as served:
        pass
    assert f"{served.url}a: the connection broke 5 times (ConnectionError)" in refusal(served, path)


def test_another_file_is_set_aside_and_not_used(path):
    other = bytes(SIZE)
    with serving({"/a": other}) as served:
        message = refusal(served, path)
        assert f"{served.url}a: is not the file that was published" in message
        assert f"so it is not used and set aside as {path}.wrong" in message
        assert Path(f"{path}.wrong").read_bytes() == other and not Path(f"{path}.part").exists()
        served.files["/a"] = CONTENT
        get(served, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_not_even_fetched(path, change):
    with serving({"/a": CONTENT}) as served:
        message = refusal(served, path, size=SIZE + change)
    assert f"has {SIZE} bytes there and {SIZE + change} were published, so it is another file" in message
    assert len(served.asked) == 1


def test_a_file_that_turns_out_longer_is_set_aside_before_it_fills_the_disk(path):
    with serving({"/a": CONTENT * 4}, length=False) as served:
        assert "is not the file that was published" in refusal(served, path)
    assert Path(f"{path}.wrong").stat().st_size < 2 * SIZE


def test_no_message_tells_the_password_in_an_address(path):
    with serving({"/a": bytes(SIZE)}) as served:
        served.url = served.url.replace("127", "ana:opensesame@127")
        messages = [refusal(served, path), refusal(served, path, size=1)]
        served.cuts = [0] * 9
        messages.append(refusal(served, path))
    assert "Authorization" in served.asked[0]
    assert not [message for message in messages if "opensesame" in message or "ana" in message.partition(str(path))[0]]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk needs root and the right to mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_the_download_goes_on_once_there_is_room(small_disk):
    path = small_disk / "pets" / "images.tar.gz"
    with serving({"/a": CONTENT}) as served:
        message = refusal(served, path)
        assert message.startswith(f"{path.parent}: the disk is full after ")
        kept = Path(f"{path}.part").stat().st_size
        assert f"after {kept} of {SIZE} bytes" in message and kept > 1_000_000
        subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
        get(served, path)
    assert path.read_bytes() == CONTENT and asked_from(served)[-1] == f"bytes={kept}-"
