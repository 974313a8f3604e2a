"""What one client may ask for, and what happens when many ask at once."""

import http.client
import io
import json
import shutil
import struct
import time
import zlib
from urllib.parse import urlsplit

import numpy as np
import pytest
from drawing import encoded
from PIL import Image
from served import ask, eventually, half_sent, metric, served
from tensorflow_serving_client import b64
from trainer_helpers import serialise

PREDICT = "/v1/models/segpipe:predict"
SMALL = encoded(np.full([20, 30, 3], 230, np.uint8), "PNG")


def rows(*photos: bytes) -> bytes:
    return json.dumps({"instances": [b64(photo) for photo in photos]}).encode()


@pytest.fixture(scope="module")
def url(tmp_path_factory, brightness):
    folder = tmp_path_factory.mktemp("serving_model")
    shutil.copytree(brightness, folder / "1")
    limits = {"max_pixels": 10_000, "max_request_bytes": 100_000, "max_instances": 3, "max_requests": 2}
    with served(folder, body_seconds=3, **limits) as url:
        yield url


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises more than it holds: a few bytes that would become gigabytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def gif_of(frames: int) -> bytes:
    pictures = [Image.fromarray(np.full([50, 50], shade, np.uint8)) for shade in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (rows(SMALL, SMALL, SMALL), 200, None),
        (rows(SMALL, SMALL, SMALL, SMALL), 413, "4 instances are more than 3"),
        (rows(png_of(30_000, 30_000)), 413, "30000x30000 pixels, more than data.max_pixels 10000"),
        (rows(gif_of(3)), 200, None),
        (rows(gif_of(5)), 413, "50x50x5 pixels"),
        (b" " * 100_001, 413, "larger than 100000 bytes"),
        (b" " * 20_000_000, 413, "larger than 100000 bytes"),
    ],
    ids=["three", "four", "bomb", "short film", "long film", "one byte too many", "far too large"],
)
def test_a_request_within_its_limits_is_answered_and_one_beyond_is_told_which(url, body, status, said):
    answer = ask(url + PREDICT, body)
    assert answer.status == status
    assert said is None or said in answer.json["error"]


def test_a_photo_inside_an_example_is_measured_too(url):
    body = {"signature_name": "from_examples", "instances": [b64(serialise(image=png_of(30_000, 30_000)))]}
    answer = ask(url + PREDICT, json.dumps(body).encode())
    assert (answer.status, "30000x30000" in answer.json["error"]) == (413, True)


def test_a_body_that_does_not_announce_its_size_is_cut_off(url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=240)
    connection.request("POST", PREDICT, (b" " * 50_000 for _ in range(3)), encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()


def test_too_many_at_once_are_told_to_come_again_and_those_inside_are_answered(url):
    refused = metric(url, "segpipe_requests_refused_total")
    with half_sent(url + PREDICT, rows(SMALL)) as first, half_sent(url + PREDICT, rows(SMALL)) as second:
        eventually(lambda: metric(url, "segpipe_requests_in_flight") == 2, "two are inside")
        answer = ask(url + PREDICT, rows(SMALL))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "2 requests are being answered already" in answer.json["error"]
        assert ask(url + "/healthz").status == 200
        assert [first().status, second().status] == [200, 200]
    assert ask(url + PREDICT, rows(SMALL)).status == 200
    assert metric(url, "segpipe_requests_refused_total") == refused + 1


def test_bodies_together_may_hold_only_so_much(tmp_path, brightness):
    shutil.copytree(brightness, tmp_path / "1")
    body = rows(SMALL) + b" " * 30_000
    with served(tmp_path, max_waiting_bytes=50_000) as url, half_sent(url + PREDICT, body) as first:
        eventually(lambda: metric(url, "segpipe_requests_in_flight") == 1, "one is inside")
        assert ask(url + PREDICT, body).status == 503
        assert first().status == 200
        assert ask(url + PREDICT, body).status == 200


def test_a_client_that_stops_sending_is_given_up(url):
    start = time.monotonic()
    with half_sent(url + PREDICT, rows(SMALL)):
        eventually(lambda: metric(url, "segpipe_requests_in_flight") == 1, "it is inside")
        eventually(lambda: metric(url, "segpipe_requests_in_flight") == 0, "it is given up")
    assert time.monotonic() - start > 2
    assert ask(url + PREDICT, rows(SMALL)).status == 200
    given_up = 'segpipe_requests_total{method="POST",path="/v1/models/{model}:{verb}",status="408"}'
    assert metric(url, given_up) == 1
