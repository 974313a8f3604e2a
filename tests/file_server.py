"""A web server on loopback that serves one file and can fail in the ways that real ones do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What the server gives, and what it was asked.

    Attributes:
      files: path -> content.
      tag: the ETag of all of them; None sends none.
      ranges: whether it knows Range requests.
      cuts: for each of the next answers, after how many bytes the connection breaks.
      statuses: HTTP statuses of the next answers, before it works.
      pause: seconds before each 64 KiB.
      length: whether it says how long the answer will be.
      asked: the headers of each request.
    """

    files: dict[str, bytes]
    tag: str | None = '"1"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    pause: float = 0.0
    length: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(files: dict[str, bytes], **options) -> Iterator[Served]:
    """Serves files on a free port until the block ends."""
    served = Served(files, **options)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(dict(self.headers))
            content = served.files.get(self.path)
            if served.statuses or content is None:
                self.send_error(served.statuses.pop(0) if served.statuses else 404)
                return
            start, wanted = 0, self.headers.get("Range")
            if served.ranges and wanted and self.headers.get("If-Range") in (None, served.tag):
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if served.length:
                self.send_header("Content-Length", str(len(content) - start))
            if served.tag:
                self.send_header("ETag", served.tag)
            self.end_headers()
            end = min(len(content), start + served.cuts.pop(0)) if served.cuts else len(content)
            for at in range(start, end, 1 << 16):
                time.sleep(served.pause)
                self.wfile.write(content[at : min(end, at + (1 << 16))])
                self.wfile.flush()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
