"""Fetches one large file over HTTP, goes on where it stopped, and believes its hash alone.

    fetch(url, "downloads/images.tar.gz", size=791_918_971, sha256="6719...", progress=print)

What has come so far lies in `<path>.part`; `<path>` appears when it is whole and right.
"""

import errno
import json
import os
import time
from collections.abc import Callable

import requests

from components.errors import SegpipeError
from components.ingest.spans import file_sha256, file_size
from components.secrets import shown

_CHUNK = 1 << 18
_TIMEOUT = (10, 60)
_ATTEMPTS = 5
_PAUSE = 1.0


def fetch(url: str, path: str, size: int, sha256: str, progress: Callable[[int], None]) -> None:
    """Downloads a file, unless it is there.

    A lost connection is taken up again a few times, and by the next call after that: with a Range request, if the
    server knows them and the file is still the same.

    Args:
      url: where from; the password in it, if any, is told to nobody else.
      path: where to.
      size: bytes of the file.
      sha256: hexadecimal hash of the file.
      progress: called with the number of bytes that are there.

    Raises:
      SegpipeError: if the server refuses, the connection keeps breaking, the disk is full, or the file is another one,
        which is then set aside as `<path>.wrong`.
    """
    if os.path.isfile(path):
        progress(size)
        return
    part = path + ".part"
    failures, most = 0, file_size(part)
    while file_size(part) < size:
        try:
            _continue(url, part, size, progress)
            problem: Exception | None = None
        except requests.RequestException as error:
            problem = error
        except OSError as error:
            raise _disk_problem(error, path, part, size) from error
        if file_size(part) < size:
            # Each attempt that came further than all before earns others.
            failures = 1 if file_size(part) > most else failures + 1
            most = max(most, file_size(part))
            if failures >= _ATTEMPTS:
                raise SegpipeError(
                    f"{shown(url)}: the connection broke {failures} times ({_why(problem)}) after {file_size(part)} of "
                    f"{size} bytes; run the command again, it goes on from there"
                )
            time.sleep(_PAUSE)
    _accept(url, part, path, size, sha256)


def _accept(url: str, part: str, path: str, size: int, sha256: str) -> None:
    found = file_sha256(part)
    _forget(part)
    if file_size(part) == size and found == sha256:
        os.replace(part, path)
        return
    wrong = path + ".wrong"
    os.replace(part, wrong)
    raise SegpipeError(
        f"{shown(url)}: is not the file that was published ({file_size(wrong)} bytes with SHA-256 {found[:16]}..., not "
        f"{size} with {sha256[:16]}...), so it is not used and set aside as {wrong}; run the command again or name "
        f"another mirror"
    )


def _continue(url: str, part: str, size: int, progress: Callable[[int], None]) -> None:
    """One request: appends what is missing to `part`, or begins it anew if the server cannot or may not go on."""
    start, tag = file_size(part), _remembered(part, url)
    headers = {"Accept-Encoding": "identity"}
    if start and tag is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise requests.HTTPError(f"HTTP {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise SegpipeError(
                f"{shown(url)}: the server answers {answer.status_code} {answer.reason}; check downloads in the config"
            )
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        _check_size(url, answer, start if goes_on else 0, size)
        _remember(part, url, answer.headers)
        # Else urllib3 2 keeps back what came before the connection broke; the size is checked at the end.
        answer.raw.enforce_content_length = False
        with open(part, "ab" if goes_on else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                file.flush()
                progress(min(file.tell(), size))
                if file.tell() > size:
                    return


def _check_size(url: str, answer: requests.Response, start: int, size: int) -> None:
    """Raises SegpipeError before anything is fetched if the server says that it has a file of another size."""
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and start + int(length) != size:
        raise SegpipeError(
            f"{shown(url)}: has {start + int(length)} bytes there and {size} were published, so it is another file; "
            f"name another mirror in downloads of the config"
        )


def _remember(part: str, url: str, headers: requests.structures.CaseInsensitiveDict) -> None:
    """Keeps what the server calls this version of the file; a weak tag does not promise the same bytes."""
    tag = headers.get("ETag", "")
    tag = headers.get("Last-Modified") if not tag or tag.startswith("W/") else tag
    with open(part + ".json", "w", encoding="utf-8") as file:
        json.dump({"url": shown(url), "tag": tag}, file)


def _remembered(part: str, url: str) -> str | None:
    """The tag under which `part` began; None if there is none, or it began elsewhere."""
    try:
        with open(part + ".json", encoding="utf-8") as file:
            record = json.load(file)
        return record["tag"] if record["url"] == shown(url) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _forget(part: str) -> None:
    if os.path.exists(part + ".json"):
        os.remove(part + ".json")


def _why(problem: Exception | None) -> str:
    # The library's own text repeats the address, password and all.
    return "it ended early" if problem is None else type(problem).__name__


def _disk_problem(error: OSError, path: str, part: str, size: int) -> SegpipeError:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return SegpipeError(f"{part}: {error.strerror}; check the path")
    return SegpipeError(
        f"{os.path.dirname(path)}: the disk is full after {file_size(part)} of {size} bytes; free some and run the "
        f"command again, it goes on from there"
    )
