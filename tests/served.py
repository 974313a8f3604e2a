"""A server that really answers, on a loopback port, in a thread of the test or as the command that a user starts.

with served(folder) as url:                  # this process
    requests.get(url + "/healthz")
with command(workspace) as server:           # segpipe serve, a process of its own
    server.process.send_signal(signal.SIGTERM)
"""

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from components.serving.app import create_app
from components.serving.server import Server, listen, url_of
from components.serving.settings import ServingSettings

# TensorFlow's import alone takes most of a minute on a machine whose cores are all taken.
PATIENCE = 240

VERSION = 1700000000
"""The version of the small net that most tests ask."""


@dataclass
class Answer:
    """What came back: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def ask(url: str, body: bytes | None = None, method: str | None = None) -> Answer:
    """GET, or POST if there is a body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=PATIENCE) as response:
            return Answer(response.status, _lower(response.headers), response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, _lower(error.headers), error.read())


def _lower(headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def eventually(holds: Callable[[], object], what: str):
    """Waits until something is true and returns it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {PATIENCE} s: {what}")


def metric(url: str, line: str) -> float:
    """The value of a line of /metrics, 0 if it is not there."""
    for found in ask(url + "/metrics").body.decode().splitlines():
        if found.startswith(line + " "):
            return float(found.rsplit(" ", 1)[1])
    return 0.0


@contextmanager
def half_sent(url: str, body: bytes) -> Iterator[Callable[[], http.client.HTTPResponse]]:
    """A connection on which half of a request is sent; what is yielded sends the rest and reads the answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    connection.putrequest("POST", urlsplit(url).path)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[: len(body) // 2])

    def finish() -> http.client.HTTPResponse:
        connection.send(body[len(body) // 2 :])
        return connection.getresponse()

    try:
        yield finish
    finally:
        connection.close()


@contextmanager
def served(folder: Path, ready: bool = True, **settings) -> Iterator[str]:
    """The application behind a real socket; yields its URL, once a model answers if it is to be `ready`."""
    listening = listen("127.0.0.1", 0)
    started = threading.Event()
    app = create_app(ServingSettings(str(folder), **({"poll_seconds": 0.1} | settings)))
    server = Server(uvicorn.Config(app, log_level="warning", lifespan="on"), started.set)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert started.wait(PATIENCE)
        url = url_of(listening)
        if ready:
            eventually(lambda: ask(url + "/healthz").status == 200, "the model is loaded")
        yield url
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Command:
    """`segpipe serve` as a process; `output` is what it printed so far."""

    process: subprocess.Popen
    url: str
    output: list[str] = field(default_factory=list)


@contextmanager
def command(workspace: Path, *options: str) -> Iterator[Command]:
    """Starts the command and yields it once it takes requests."""
    arguments = [Path(sys.executable).parent / "segpipe", "serve", "--port", "0", "--workspace", workspace, *options]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
    reader.start()
    try:
        announced = eventually(
            lambda: process.poll() is not None or next((line for line in lines if " at http" in line), None),
            "it starts",
        )
        assert process.poll() is None, "".join(lines)
        yield Command(process, announced.rsplit(" ", 1)[1].strip(), lines)
    finally:
        process.kill()
        process.wait()
        reader.join()
