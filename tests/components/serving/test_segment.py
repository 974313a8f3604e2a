"""What the page is told of a photo, by a model whose answers are known."""

import base64
import io
import shutil

import numpy as np
import pytest
from drawing import encoded, halves, turned
from PIL import Image
from served import ask, served

LEFT, RIGHT = 20, 230  # night and day


def rgb(height: int = 60, width: int = 90) -> np.ndarray:
    return np.repeat(halves(LEFT, RIGHT, height, width)[..., np.newaxis], 3, axis=-1)


def picture(answer: dict, name: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer[name])))


@pytest.fixture(scope="module")
def url(tmp_path_factory, brightness):
    folder = tmp_path_factory.mktemp("serving_model")
    shutil.copytree(brightness, folder / "5")
    with served(folder, max_pixels=20_000) as url:
        yield url


@pytest.mark.parametrize(
    ("kind", "pixels", "options"),
    [
        ("JPEG", rgb(), {}),
        ("PNG", rgb(), {}),
        ("WEBP", rgb(), {"lossless": True}),
        ("TIFF", rgb(), {}),
        ("JPEG", np.rot90(rgb()).copy(), turned(6)),
        ("JPEG", np.fliplr(rgb()).copy(), turned(2)),
    ],
    ids=["JPEG", "PNG", "WebP", "TIFF", "held on its side", "mirrored"],
)
def test_mask_shares_and_confidence_are_of_the_upright_photos_size(url, kind, pixels, options):
    answer = ask(url + "/api/segment", encoded(pixels, kind, **options)).json
    assert (answer["version"], answer["run_id"], answer["width"], answer["height"]) == (5, "drawn", 90, 60)
    mask, labels = np.asarray(picture(answer, "mask_png")), np.asarray(picture(answer, "labels_png"))
    assert picture(answer, "mask_png").mode == "P"
    assert mask.shape == labels.shape == (60, 90)
    # The border between the halves is blurred by the way through the model's size.
    assert set(np.unique(mask[:, :40])) == {7} and set(np.unique(mask[:, 50:])) == {200}
    assert set(np.unique(labels[:, :40])) == {0} and set(np.unique(labels[:, 50:])) == {2}
    assert [(c["name"], c["colour"], c["value"]) for c in answer["classes"]] == [
        ("night", "#102030", 7),
        ("dusk", "#ff8000", 40),
        ("day", "#20c040", 200),
    ]
    shares = [c["share"] for c in answer["classes"]]
    np.testing.assert_allclose(shares, [(labels == label).mean() for label in range(3)], atol=1e-12)
    assert sum(shares) == pytest.approx(1) and shares[0] == pytest.approx(0.5, abs=0.06)
    confidence = np.asarray(picture(answer, "confidence_png"))
    assert confidence[:, :40].min() == 255
    assert answer["mean_confidence"] == pytest.approx(confidence.mean() / 255, abs=0.01)
    assert "photo_jpeg" not in answer


def test_a_browser_that_cannot_show_a_photo_gets_it_upright(url):
    answer = ask(url + "/api/segment?photo=true", encoded(np.rot90(rgb()).copy(), "TIFF")).json
    assert (picture(answer, "photo_jpeg").format, picture(answer, "photo_jpeg").size) == ("JPEG", (60, 90))


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "it is empty"),
        (b"this is no photo", 400, "the photo cannot be decoded"),
        (encoded(rgb(), "JPEG")[:300], 400, "the photo cannot be decoded"),
        (encoded(np.zeros([400, 400], np.uint8), "PNG"), 413, "400x400 pixels are more than data.max_pixels 20000"),
    ],
    ids=["empty", "text", "half", "too many pixels"],
)
def test_a_photo_that_cannot_be_used_is_told_why(url, body, status, said):
    answer = ask(url + "/api/segment", body, "POST")
    assert answer.status == status
    assert said in answer.json["error"]


@pytest.mark.parametrize(("query", "status"), [("version=5", 200), ("version=6", 404), ("version=new", 400)])
def test_the_version_is_the_one_that_is_named(url, query, status):
    assert ask(f"{url}/api/segment?{query}", encoded(rgb(), "JPEG")).status == status


def test_a_mask_in_the_right_values_can_be_downloaded_and_opened_as_a_palette(url):
    answer = ask(url + "/api/segment", encoded(rgb(), "JPEG")).json
    coloured = np.asarray(picture(answer, "mask_png").convert("RGB"))
    assert coloured[30, 5].tolist() == [0x10, 0x20, 0x30] and coloured[30, 85].tolist() == [0x20, 0xC0, 0x40]
