"""A web server on loopback whose answers a function gives: what the services of the tests are made of."""

import json
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """One call: `path` as it was sent, and its `query` taken apart."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the server answers; a `body` that is no bytes is sent as JSON."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class Strange(Exception):
    """A call that the service does not know, or does not take."""


@dataclass(frozen=True)
class Failure:
    """An error that a service answers to one call.

    Attributes:
      status: of HTTP.
      message: in the service's words.
      after: whether the call is carried out, and only its answer lost.
    """

    status: int
    message: str = "because"
    after: bool = False


@dataclass
class Service:
    """What every service of the tests notes of what it was asked.

    Attributes:
      calls: method and request of each call that was carried out, in order.
      tried: method of each call, also of those that failed.
      failures: method -> what its next calls are answered with.
      strange: calls that the service does not know or does not take.
      headers: of each call.
      url: where it listens.
    """

    calls: list[tuple[str, object]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def asked(self, method: str) -> list:
        """The requests of a method that were carried out."""
        return [request for name, request in self.calls if name == method]

    def next_failure(self, method: str) -> Failure | None:
        """What the next call of a method is answered with, if it is to fail."""
        return self.failures[method].pop(0) if self.failures.get(method) else None

    def carried_out(
        self, method: str, request: object, work: Callable[[Any], Answer], failed: Callable[[int, str], Answer]
    ) -> Answer:
        """Does what a method does and notes it, or fails before or after that as the test wants.

        Args:
          method: its name.
          request: what it is given.
          work: what it does.
          failed: an error with a status and a message, in the service's form.
        """
        failure = self.next_failure(method)
        if failure is not None and not failure.after:
            return failed(failure.status, failure.message)
        answer = work(request)
        self.calls.append((method, request))
        return answer if failure is None else failed(failure.status, failure.message)


@contextmanager
def answering(answer: Callable[[Request], Answer], strange: list[str]) -> Iterator[str]:
    """Serves on a free port until the block ends; yields the address.

    Args:
      answer: is called for each request; what it raises is answered with 400.
      strange: gets what was raised, so that a test can say there was nothing.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            try:
                given = answer(Request(self.command, parts.path, query, self.headers, body))
            except Exception as error:  # noqa: BLE001, a test is to see whatever it was
                strange.append(f"{self.command} {self.path}: {''.join(traceback.format_exception_only(error)).strip()}")
                given = Answer(400, {"error": {"code": 400, "message": str(error)}, "message": str(error)})
            content = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
            self.send_response(given.status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
