"""`segpipe serve` as a user starts it: no model, the first push, pushes under load, the end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from drawing import encoded
from served import ask, command, eventually, half_sent
from tensorflow_serving_client import b64

from components.pusher.versions import publish
from components.serving import server

PREDICT = "/v1/models/segpipe:predict"
PHOTO = encoded(np.full([20, 30, 3], 230, np.uint8), "JPEG")
ROWS = json.dumps({"instances": [b64(PHOTO)]}).encode()


class Load:
    """Clients that ask one after the other until they are stopped; what they were answered."""

    def __init__(self, url: str, clients: int = 4):
        self.answers: list[tuple[int, int]] = []
        self._url, self._ends = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        while not self._ends.is_set():
            try:
                answer = ask(self._url + "/api/segment", PHOTO)
                self.answers.append((answer.status, answer.json.get("version", 0)))
            except OSError as error:
                self.answers.append((0, error.errno or 0))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


def live(url: str) -> int | None:
    return ask(url + "/api/versions").json["live"]


def test_from_no_model_over_pushes_under_load_to_the_end(tmp_path, brightness):
    serving = tmp_path / "serving_model"
    with command(tmp_path) as server:
        url = server.url
        health = ask(url + "/healthz")
        assert (health.status, health.json["status"]) == (503, "no model")
        assert "holds no model yet" in health.json["reason"]
        assert ask(url + "/").status == 200
        assert ask(url + PREDICT, ROWS).status == 404
        assert ask(url + "/v1/models/segpipe").status == 404

        first = publish(str(brightness), str(serving), "first")
        eventually(lambda: ask(url + "/healthz").status == 200, "the first push is picked up")
        assert live(url) == first

        pushed = [first]
        with Load(url) as load:
            for _ in range(3):
                pushed.append(publish(str(brightness), str(serving), "next"))
                eventually(lambda: live(url) == pushed[-1], "the push is live")
                eventually(lambda: (200, pushed[-1]) in load.answers, "the push answers")
                shutil.rmtree(serving / str(pushed[-2]))
        assert {status for status, _ in load.answers} == {200}, "no request was lost"
        assert {version for _, version in load.answers} == set(pushed)

        with half_sent(url + PREDICT, ROWS) as finish:
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: refuses(url), "it takes no new requests")
            assert server.process.poll() is None
            assert finish().status == 200
        assert server.process.wait(60) == 0
    assert f"version {pushed[-1]} is live" in "".join(server.output)


def refuses(url: str) -> bool:
    try:
        ask(url + "/healthz")
    except (urllib.error.URLError, ConnectionError):
        return True
    return False


def test_ctrl_c_ends_it_cleanly(tmp_path):
    with command(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
    assert "Traceback" not in "".join(server.output)


def test_a_port_that_is_taken_is_told_at_once(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [Path(sys.executable).parent / "segpipe", "serve", "--port", port, "--workspace", tmp_path],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"segpipe: 127.0.0.1:{port} cannot be listened on (Address already in use); choose another --host or --port\n"
    )


@pytest.mark.parametrize("cores, given, threads", [(1, None, "1"), (2, None, "1"), (16, None, "8"), (16, "3", "3")])
def test_operations_of_tensorflow_get_half_of_the_cores_unless_the_user_says_otherwise(
    cores, given, threads, monkeypatch
):
    # Set first in any case, so that what the server sets is taken back.
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given or "")
    if given is None:
        del os.environ["TF_NUM_INTRAOP_THREADS"]
    monkeypatch.setattr(server, "usable_cores", lambda: cores)
    server.share_cores()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == threads
