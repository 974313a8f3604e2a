"""What `segpipe serve` costs over the bare model: requests/s and latency at 1, 8 and 32 clients, and 5,000 requests.

.venv/bin/python benchmarks/serving_load.py WORKSPACE                    # whose live version is asked
.venv/bin/python benchmarks/serving_load.py WORKSPACE --photos DIR       # with a folder's JPEGs instead of drawn ones

Server, clients and bare loops share the cores. A client sends one photo through TensorFlow Serving's REST API,
signature `masks`, and the next when it has its answer. A bare loop is a process that calls the same signature of the
same SavedModel: decode, resize, forward pass and PNG. One has TensorFlow's own number of threads, one the server's.
They and the one client take turns photo by photo, so that all meet the same machine.
"""

import argparse
import base64
import http.client
import itertools
import json
import multiprocessing
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
from dataclasses import dataclass, field
from glob import glob
from multiprocessing.connection import Connection

import pipeline  # noqa: F401  (it switches oneDNN on, before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf
from figures import Figure, report
from rich.console import Console
from rich.table import Table

from components.inference.served_model import ServedModel
from components.ingest.draw import draw_dataset
from components.pusher.versions import live_version
from components.serving.server import share_cores

_PATH = "/v1/models/segpipe:predict"


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


class Client:
    """One connection."""

    def __init__(self, address: str, bodies: list[bytes]):
        self._connection, self._bodies = http.client.HTTPConnection(address), bodies

    def ask(self, number: int) -> tuple[float, int]:
        """Milliseconds until the answer is read, and its status."""
        start = time.perf_counter()
        self._connection.request("POST", _PATH, self._bodies[number % len(self._bodies)])
        answer = self._connection.getresponse()
        answer.read()
        return 1000 * (time.perf_counter() - start), answer.status


def _answer_bare(asked: Connection, model: str, photos: list[bytes], as_served: bool) -> None:
    """A bare loop: receives numbers of photos and sends milliseconds, until None comes."""
    if as_served:
        share_cores()
    ask = ServedModel(model).signatures["masks"]
    for number in iter(asked.recv, None):
        start = time.perf_counter()
        ask(image_bytes=tf.constant([photos[number % len(photos)]]))["mask_png_bytes"].numpy()
        asked.send(1000 * (time.perf_counter() - start))


@contextmanager
def bare_loop(model: str, photos: list[bytes], as_served: bool) -> Iterator[Callable[[int], tuple[float, int]]]:
    """A bare loop in a process of its own; asked as a `Client` is."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_answer_bare, args=(there, model, photos, as_served))
    process.start()

    def ask(number: int) -> tuple[float, int]:
        here.send(number)
        return here.recv(), 200

    try:
        yield ask
    finally:
        here.send(None)
        process.join()


@dataclass
class Row:
    """What a row of the table is made from: milliseconds of each answer, how many were no 200, seconds in all."""

    name: str
    times: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0

    def add(self, milliseconds: float, status: int = 200) -> None:
        self.times.append(milliseconds)
        self.errors += status != 200

    def cells(self, base: float) -> tuple[str, ...]:
        p50, p99 = statistics.median(self.times), float(np.percentile(self.times, 99))
        rate = len(self.times) / (self.seconds or sum(self.times) / 1000)
        return self.name, f"{rate:.1f}", f"{p50:.2f}", f"{p99:.2f}", f"{p50 / base:.2f}", str(self.errors)


def many(address: str, bodies: list[bytes], clients: int, goes_on: Callable[[int], bool]) -> Row:
    """Clients at once, each with a connection of its own, as long as `goes_on(number of the next request)`."""
    numbers, row, lock = itertools.count(), Row(f"{clients} clients"), threading.Lock()

    def work() -> None:
        client = Client(address, bodies)
        while True:
            with lock:
                number = next(numbers)
            if not goes_on(number):
                return
            row.add(*client.ask(number))

    start = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row.seconds = time.perf_counter() - start
    return row


def in_turns(asks: dict[str, Callable[[int], tuple[float, int]]], goes_on: Callable[[int], bool]) -> list[Row]:
    """Each of some about each photo in turn."""
    rows = {name: Row(name) for name in asks}
    for number in itertools.count():
        if not goes_on(number):
            return list(rows.values())
        for name, ask in asks.items():
            rows[name].add(*ask(number))


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def until(seconds: float) -> Callable[[int], bool]:
    end = time.perf_counter() + seconds
    return lambda number: time.perf_counter() < end


def main(workspace: str, folder: str | None, seconds: float, requests: int, figures: str | None) -> None:
    photos = photo_bytes(folder)
    bodies = [
        json.dumps({"signature_name": "masks", "instances": [{"b64": base64.b64encode(p).decode()}]}).encode()
        for p in photos
    ]
    serving = os.path.join(workspace, "serving_model")
    model = os.path.join(serving, str(live_version(serving)))
    table = Table(box=None, pad_edge=False)
    for column in ("", "requests/s", "p50 ms", "p99 ms", "p50 to bare", "errors"):
        table.add_column(column, justify="left" if not column else "right")
    console = Console(highlight=False)
    bare, as_served = bare_loop(model, photos, False), bare_loop(model, photos, True)
    with server(workspace) as (process, address), bare as ask, as_served as ask_as_served:
        turns = {"bare loop": ask, "the same, the server's threads": ask_as_served}
        turns["1 client"] = Client(address, bodies).ask
        in_turns(turns, until(5))
        rows = in_turns(turns, until(3 * seconds))
        rows += [many(address, bodies, clients, until(seconds)) for clients in (8, 32)]
        before = memory_mb(process)
        last = many(address, bodies, 8, lambda number: number < requests)
        after = memory_mb(process)
    base = statistics.median(rows[0].times)
    for row in rows:
        table.add_row(*row.cells(base))
    size = statistics.mean(map(len, photos)) / 1024
    console.print(f"{len(photos)} photos of {size:.0f} KB on average, {len(os.sched_getaffinity(0))} cores")
    console.print(table)
    console.print(
        f"{len(last.times)} requests of 8 clients in {last.seconds:.0f} s: {last.errors} errors; "
        f"resident memory of the server {before:.0f} MB before, {after:.0f} MB after",
        soft_wrap=True,
    )
    one, what = statistics.median(rows[2].times), "serving one photo, p50"
    report(
        "segpipe serve",
        [
            Figure(what, f"{one:.2f} ms", name, f"{base:.2f} ms", one / base, goal)
            for row, goal in zip(rows[:2], ("1.15", ""), strict=True)
            for name, base in [(row.name, statistics.median(row.times))]
        ],
        figures,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace")
    parser.add_argument("--photos", help="folder of JPEGs; drawn ones if left out")
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    parser.add_argument("--requests", type=int, default=5000, help="of the long run")
    parser.add_argument("--figures", help="a file of JSON lines to append the row to")
    given = parser.parse_args()
    main(given.workspace, given.photos, given.seconds, given.requests, given.figures)
