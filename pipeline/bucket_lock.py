"""The lock of a root in a bucket: an object that its holder writes anew every few seconds.

Who finds that it does not change for a minute takes it over; so a holder that was killed keeps nobody out for long, and
no clock is compared with another one. Each write says which version it replaces, so of two that come at once one fails.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from absl import logging

from components.errors import SegpipeError
from pipeline.buckets import Bucket

LOCK = ".lock.json"


@dataclass
class Held:
    """A lock that is held.

    Attributes:
      version: of the object.
      lost: whether somebody else has taken it over, since this process did not write for too long.
    """

    version: str
    lost: bool = False

    def insist(self) -> None:
        """Raises SegpipeError if the lock is lost, before anything is written that it was for."""
        if self.lost:
            raise SegpipeError("this process stood still for so long that another one took its lock; run it again")


@contextlib.contextmanager
def locked(bucket: Bucket, prefix: str, doing: str, wait: float, lasts: float = 60) -> Iterator[Held]:
    """Holds the lock of a root.

    Args:
      bucket, prefix: of the root.
      doing: what the holder does, for the message that others get.
      wait: seconds to wait for another holder, and at least until one that was killed would be found out.
      lasts: seconds without a write after which a holder counts as killed.

    Raises:
      SegpipeError: if another process holds it; it names that process.
    """
    key, poll = prefix + LOCK, lasts / 12
    held = Held(_acquire(bucket, key, doing, max(wait, lasts + 4 * poll), lasts, poll))
    released = threading.Event()

    def renew() -> None:
        written = time.monotonic()
        while not released.wait(lasts / 4):
            try:
                version = bucket.write_over(key, _note(doing), held.version)
            except SegpipeError as error:
                logging.warning("%s", error)
                held.lost = time.monotonic() - written > lasts
                continue
            held.lost, held.version, written = version is None, version or held.version, time.monotonic()
            if held.lost:
                return

    renewer = threading.Thread(target=renew, daemon=True)
    renewer.start()
    try:
        yield held
    finally:
        released.set()
        renewer.join()
        bucket.write_over(key, b"{}", held.version)


def _acquire(bucket: Bucket, key: str, doing: str, wait: float, lasts: float, poll: float) -> str:
    """Returns the version of the lock that this process has written."""
    given_up, seen, since = time.monotonic() + wait, None, 0.0
    while True:
        found = bucket.read(key)
        content, version = found if found is not None else (b"{}", None)
        if version != seen:
            seen, since = version, time.monotonic()
        if content == b"{}" or time.monotonic() - since > lasts:
            written = bucket.write_over(key, _note(doing), version)
            if written is not None:
                return written
        if time.monotonic() > given_up:
            holder = json.loads(content)
            raise SegpipeError(
                f"{bucket.address}/{key.removesuffix(LOCK)} is in use by segpipe {holder.get('doing')} on "
                f"{holder.get('host')}; wait for it or use another root"
            )
        time.sleep(poll)


def _note(doing: str) -> bytes:
    """What the object says; never the same twice, since a version may be a hash of the content."""
    return json.dumps({"doing": doing, "host": socket.gethostname(), "once": os.urandom(8).hex()}).encode()
