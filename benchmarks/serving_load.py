"""What `segpipe serve` costs over the bare model: requests/s and latency at 1, 8 and 32 clients, and 5,000 requests.

.venv/bin/python benchmarks/serving_load.py WORKSPACE                    # whose live version is asked
.venv/bin/python benchmarks/serving_load.py WORKSPACE --photos DIR       # with a folder's JPEGs instead of drawn ones

Server, clients and bare loop share the cores. A client sends one photo through TensorFlow Serving's REST API, signature
`masks`, and the next when it has its answer. The bare loop calls the same signature of the same SavedModel in this
process; the "bare function" also decodes the base64 of nothing and sends nothing: it is the least an answer can cost.
Bare and one client take turns, so that both meet the same machine.
"""

import argparse
import base64
import http.client
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import glob

import pipeline  # noqa: F401  (it switches oneDNN on, before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from components.inference.served_model import ServedModel
from components.ingest.draw import draw_dataset
from components.pusher.versions import live_version

_PATH = "/v1/models/segpipe:predict"
_TURNS = 5


def photo_bytes(folder: str | None, count: int = 32) -> list[bytes]:
    """JPEGs of a folder, or drawn ones."""
    with tempfile.TemporaryDirectory() as drawn:
        if folder is None:
            draw_dataset(drawn, count)
            folder = os.path.join(drawn, "images")
        paths = sorted(glob(os.path.join(folder, "*.jpg")))[:count]
        return [open(path, "rb").read() for path in paths]


@contextmanager
def server(workspace: str) -> Iterator[tuple[int, str]]:
    """`segpipe serve` as a process of its own: its id and its address, once a model answers."""
    command = [os.path.join(os.path.dirname(sys.executable), "segpipe"), "serve", "--port", "0"]
    process = subprocess.Popen([*command, "--workspace", workspace], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://(\S+)", process.stdout.readline()).group(1)
        while _get(address, "/healthz")[0] != 200:
            time.sleep(0.2)
        yield process.pid, address
    finally:
        process.terminate()
        process.wait()


def _get(address: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address)
    connection.request("GET" if body is None else "POST", path, body)
    answer = connection.getresponse()
    result = answer.status, answer.read()
    connection.close()
    return result


class Clients:
    """Threads that each send one request after the other over a connection of their own."""

    def __init__(self, address: str, bodies: list[bytes]):
        self._address, self._bodies = address, bodies

    def run(self, count: int, goes_on: Callable[[int], bool]) -> tuple[list[float], int, float]:
        """Sends requests as long as `goes_on(number of the next request)`.

        Returns:
          Milliseconds of each answer, how many were no 200, seconds in all.
        """
        numbers, times, errors, lock = itertools.count(), [], [], threading.Lock()

        def client() -> None:
            connection = http.client.HTTPConnection(self._address)
            while True:
                with lock:
                    number = next(numbers)
                if not goes_on(number):
                    return connection.close()
                start = time.perf_counter()
                connection.request("POST", _PATH, self._bodies[number % len(self._bodies)])
                answer = connection.getresponse()
                answer.read()
                times.append(1000 * (time.perf_counter() - start))
                if answer.status != 200:
                    errors.append(answer.status)

        start = time.perf_counter()
        threads = [threading.Thread(target=client) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times, len(errors), time.perf_counter() - start


def bare(ask: Callable, photos: list[bytes], seconds: float) -> list[float]:
    """Milliseconds of each call in a plain loop."""
    times, end = [], time.perf_counter() + seconds
    for photo in itertools.cycle(photos):
        start = time.perf_counter()
        if start > end:
            return times
        ask(image_bytes=tf.constant([photo]))["mask_png_bytes"].numpy()
        times.append(1000 * (time.perf_counter() - start))


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def row(name: str, times: list[float], per_second: float, errors: int, base: float) -> tuple[str, ...]:
    p50, p99 = statistics.median(times), float(np.percentile(times, 99))
    return name, f"{per_second:.1f}", f"{p50:.2f}", f"{p99:.2f}", f"{p50 / base:.2f}", str(errors)


def until(seconds: float) -> Callable[[int], bool]:
    end = time.perf_counter() + seconds
    return lambda number: time.perf_counter() < end


def main(workspace: str, folder: str | None, seconds: float, requests: int) -> None:
    photos = photo_bytes(folder)
    bodies = [
        json.dumps({"signature_name": "masks", "instances": [{"b64": base64.b64encode(p).decode()}]}).encode()
        for p in photos
    ]
    serving = os.path.join(workspace, "serving_model")
    model = ServedModel(os.path.join(serving, str(live_version(serving))))
    ask = model.signatures["masks"]
    table = Table(box=None, pad_edge=False)
    for column in ("", "requests/s", "p50 ms", "p99 ms", "p50 to bare", "errors"):
        table.add_column(column, justify="left" if not column else "right")
    console = Console(highlight=False)
    with server(workspace) as (process, address):
        clients = Clients(address, bodies)
        bare(ask, photos, 3)
        clients.run(2, until(3))
        plain, one, one_errors = [], [], 0
        for _ in range(_TURNS):
            plain += bare(ask, photos, seconds / _TURNS)
            times, errors, _ = clients.run(1, until(seconds / _TURNS))
            one, one_errors = one + times, one_errors + errors
        base = statistics.median(plain)
        table.add_row(*row("bare loop", plain, 1000 * len(plain) / sum(plain), 0, base))
        table.add_row(*row("1 client", one, 1000 * len(one) / sum(one), one_errors, base))
        for count in (8, 32):
            times, errors, took = clients.run(count, until(seconds))
            table.add_row(*row(f"{count} clients", times, len(times) / took, errors, base))
        before = memory_mb(process)
        times, errors, took = clients.run(8, lambda number: number < requests)
        after = memory_mb(process)
    size = statistics.mean(map(len, photos)) / 1024
    console.print(f"{len(photos)} photos of {size:.0f} KB on average, {len(os.sched_getaffinity(0))} cores", table)
    console.print(
        f"{len(times)} requests of 8 clients in {took:.0f} s: {errors} errors, "
        f"resident memory of the server {before:.0f} MB before, {after:.0f} MB after"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace")
    parser.add_argument("--photos", help="folder of JPEGs; drawn ones if left out")
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    parser.add_argument("--requests", type=int, default=5000, help="of the long run")
    given = parser.parse_args()
    main(given.workspace, given.photos, given.seconds, given.requests)
