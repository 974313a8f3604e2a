"""A web server on loopback that takes what a webhook gets, or fails as real ones do."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hook:
    """What was posted, as `paths` and `events`, and the HTTP `status` that is answered."""

    status: int = 204
    url: str = ""
    paths: list[str] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)


@contextmanager
def hooked(status: int = 204) -> Iterator[Hook]:
    """Listens on a free port until the block ends."""
    hook = Hook(status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.headers["Content-Type"] == "application/json"
            hook.paths.append(self.path)
            hook.events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(hook.status)
            if hook.status == 302:
                self.send_header("Location", hook.url)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
