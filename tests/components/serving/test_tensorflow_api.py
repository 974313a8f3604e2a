"""TensorFlow Serving's REST API: a client that was written for it gets what it expects."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from drawing import encoded, turned
from PIL import Image
from served import VERSION, ask, metric
from tensorflow_serving_client import Client, ServingError, b64, decoded
from trainer_helpers import SPEC, draw_mask, draw_photo, encode, serialise

from trainer.features import IMAGE


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    rng = np.random.default_rng(5)
    drawn = [draw_photo(rng, draw_mask(rng, h, w, [1, 2, 3])) for h, w in ((64, 96), (33, 20), (75, 101))]
    return [encode(drawn[0], "JPEG"), encode(drawn[1], "PNG"), encode(drawn[2], "BMP")]


@pytest.fixture(scope="module")
def expected(signatures, photos) -> dict[str, np.ndarray]:
    found = signatures["serving_default"](image_bytes=tf.constant(photos))
    return {name: value.numpy() for name, value in found.items()}


@pytest.fixture
def client(net_url) -> Client:
    return Client(net_url, "segpipe")


def same(rows: list[dict], expected: dict[str, np.ndarray]) -> None:
    """The answers are the model's own, to the last bit."""
    for name, dtype in (("mask", np.uint8), ("probabilities", np.float32)):
        np.testing.assert_array_equal(np.array([row[name] for row in rows], dtype), expected[name])
    assert len(np.unique(expected["mask"])) > 1, "equal masks are no accident"


def test_rows_of_bare_values(client, photos, expected):
    same(client.predict_rows([b64(photo) for photo in photos]), expected)


def test_rows_of_named_inputs(client, photos, expected):
    same(client.predict_rows([{"image_bytes": b64(photo)} for photo in photos], "serving_default"), expected)


@pytest.mark.parametrize("wrap", [lambda column: column, lambda column: {"image_bytes": column}], ids=["bare", "named"])
def test_columns(client, photos, expected, wrap):
    columns = client.predict_columns(wrap([b64(photo) for photo in photos]))
    assert set(columns) == {"mask", "probabilities"}
    same([dict(zip(columns, item, strict=True)) for item in zip(*columns.values(), strict=True)], expected)


def test_a_version_by_its_number(net_url, photos, expected):
    same(Client(net_url, "segpipe", VERSION).predict_rows([b64(photo) for photo in photos]), expected)


def test_a_single_output_stands_without_its_name_and_bytes_come_as_base64(client, photos, expected):
    rows = client.predict_rows([b64(photo) for photo in photos], "masks")
    masks = [np.asarray(Image.open(io.BytesIO(decoded(row)))) for row in rows]
    np.testing.assert_array_equal(masks, expected["mask"])
    assert client.predict_columns([b64(photo) for photo in photos], "masks") == rows


def test_serialised_examples(client, photos, expected):
    examples = [serialise(**{IMAGE: photo}) for photo in photos]
    same(client.predict_rows([b64(example) for example in examples], "from_examples"), expected)
    rows = client.predict_rows([b64(example) for example in examples], "masks_from_examples")
    masks = [np.asarray(Image.open(io.BytesIO(decoded(row[0])))) for row in rows]
    np.testing.assert_array_equal(masks, expected["mask"])


def test_no_columns_get_no_outputs(client):
    assert client.predict_columns([]) == {"mask": [], "probabilities": []}


def test_status(client, net_url):
    available = [{"version": str(VERSION), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    assert client.status() == available
    assert Client(net_url, "segpipe", VERSION).status() == available


def test_metadata_tells_the_signatures(client, net_url):
    found = client.metadata()
    assert found == Client(net_url, "segpipe", VERSION).metadata()
    assert found["model_spec"] == {"name": "segpipe", "signature_name": "", "version": str(VERSION)}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "masks", "from_examples", "masks_from_examples"} <= set(signatures)
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    shape = default["outputs"]["probabilities"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", str(SPEC.height), str(SPEC.width), str(SPEC.num_classes)]


PHOTO = b64(b"x")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([1], "not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [PHOTO], "inputs": [PHOTO]}, "only one of"),
        ({"instances": PHOTO}, "list/array"),
        ({"instances": []}, "No values"),
        ({"instances": [PHOTO], "signature_name": 3}, "must be a string"),
        ({"instances": [PHOTO], "signature_name": "nosuch"}, '"nosuch" not found in signature def'),
        ({"instances": [{"photo": PHOTO}]}, "keys must be equal to: image_bytes"),
        ({"instances": [{"image_bytes": PHOTO}, PHOTO]}, "element: 1"),
        ({"instances": [PHOTO, {"image_bytes": PHOTO}]}, "mixes"),
        ({"instances": [[PHOTO]]}, "item 0 of image_bytes is neither"),
        ({"instances": [7]}, "item 0 of image_bytes is neither"),
        ({"instances": [{"b64": "&&&"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "abcde"}]}, "Unable to base64 decode"),
        ({"inputs": {"photo": [PHOTO]}}, "Missing named input: image_bytes"),
        ({"inputs": PHOTO}, "must be a list"),
        ({"instances": [PHOTO]}, "it is no JPEG, PNG, GIF or BMP"),
        ({"instances": ["text"]}, "it is no JPEG, PNG, GIF or BMP"),
        ({"instances": [PHOTO], "signature_name": "from_examples"}, "no serialised tf.train.Example"),
        ({"instances": [b64(b"")], "signature_name": "from_examples"}, "holds 0 photos"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(client, document, said):
    with pytest.raises(ServingError, match=said) as told:
        client.call("predict", document)
    assert told.value.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"instances": [NaNN]}'])
def test_what_is_no_json_is_refused(net_url, body):
    answer = ask(f"{net_url}/v1/models/segpipe:predict", body, "POST")
    assert (answer.status, answer.json["error"][:16]) == (400, "JSON Parse error")


def test_a_damaged_photo_is_refused_and_the_next_request_answered(client, photos, expected):
    with pytest.raises(ServingError, match="the model refuses the input") as told:
        client.predict_rows([b64(photos[1]), b64(photos[0][: len(photos[0]) // 2])])
    assert told.value.status == 400
    same(client.predict_rows([b64(photo) for photo in photos]), expected)


def test_a_format_that_tensorflow_does_not_decode_is_named(client):
    with pytest.raises(ServingError, match="the photo is a WEBP; the model decodes JPEG, PNG, GIF and BMP"):
        client.predict_rows([b64(encoded(np.zeros([9, 9, 3], np.uint8), "WEBP"))])


def test_binary_output_under_another_name_is_refused_where_tensorflow_serving_sends_broken_json(client, photos):
    example = serialise(image=photos[0], mask=encode(np.ones([64, 96], np.uint8)))
    with pytest.raises(ServingError, match="ends in _bytes") as told:
        client.predict_rows([b64(example)], "transform_features")
    assert told.value.status == 400


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/models/cats", 404, "Latest(cats)"),
        ("/v1/models/cats:predict", 404, "Latest(cats)"),
        ("/v1/models/segpipe/versions/7", 404, "Could not find version 7"),
        ("/v1/models/segpipe/versions/7:predict", 404, "Specific(segpipe, 7)"),
        ("/v1/models/segpipe/versions/7/metadata", 404, "Specific(segpipe, 7)"),
        ("/v1/models/segpipe/versions/new:predict", 400, "Malformed request"),
        ("/v1/models/segpipe:segment", 400, "Malformed request"),
        ("/v1/models/segpipe/labels/stable", 400, "Malformed request"),
        ("/v1/models/", 400, "Malformed request"),
        ("/v1/models/segpipe:classify", 400, "no signature for classify"),
        ("/v1/models/segpipe:regress", 400, "no signature for regress"),
        ("/nosuch", 404, "Not Found"),
    ],
)
def test_a_wrong_url_is_told_what_is_wrong(net_url, path, status, said):
    answer = ask(net_url + path, b'{"instances": ["x"]}' if ":" in path else None)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert said in answer.json["error"]


def test_a_jpeg_that_exif_turns_is_answered_as_its_upright_picture(client):
    rng = np.random.default_rng(8)
    upright = draw_photo(rng, draw_mask(rng, 64, 96, [1, 2, 3]))
    options = {"quality": 95, "subsampling": 0}
    lying = encoded(np.rot90(upright).copy(), "JPEG", **options, **turned(6))
    sideways = encoded(np.rot90(upright).copy(), "JPEG", **options)
    asked = [b64(photo) for photo in (lying, encoded(upright, "JPEG", **options), sideways)]
    found, wanted, other = (np.array(row["probabilities"]) for row in client.predict_rows(asked))
    # It was encoded once more, so not to the last bit.
    assert 5 * np.abs(found - wanted).mean() < np.abs(other - wanted).mean()


def test_numbers_are_the_shortest_that_read_back_as_the_same_float(net_url, photos):
    body = json.dumps({"instances": [b64(photos[0])]}).encode()
    answer = ask(f"{net_url}/v1/models/segpipe:predict", body)
    first = answer.body.split(b'"probabilities":[[[')[1].split(b",")[0]
    assert len(first) <= 12, first


def test_metrics_count_photos_and_requests_by_route(net_url, client, photos):
    path = '{method="POST",path="/v1/models/{model}:{verb}",status="200"}'
    before = metric(net_url, "segpipe_photos_total"), metric(net_url, f"segpipe_requests_total{path}")
    client.predict_rows([b64(photo) for photo in photos], "masks")
    after = metric(net_url, "segpipe_photos_total"), metric(net_url, f"segpipe_requests_total{path}")
    assert (after[0] - before[0], after[1] - before[1]) == (3, 1)
    assert metric(net_url, "segpipe_model_version") == VERSION
    assert metric(net_url, 'segpipe_request_seconds_count{path="/v1/models/{model}:{verb}"}') >= after[1]
