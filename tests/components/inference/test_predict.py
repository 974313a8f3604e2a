"""predict: a mask and an overlay per photo, of its own size; a broken photo is named and stops nothing."""

import os

import numpy as np
import pytest
from drawing import encoded, halves, save, turned
from PIL import Image

from components.errors import UsageError
from components.inference.predict import Predictions, expand, picture_names, predict

NIGHT, DUSK, DAY = 7, 40, 200
"""The mask values of the model's classes."""

MAX_PIXELS = 1_000_000


def rgb(left: int, right: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.repeat(halves(left, right, height, width)[..., np.newaxis], 3, axis=-1)


def run(model, files: list, output, max_pixels: int = MAX_PIXELS, overlays: bool = True) -> Predictions:
    return predict(model, [str(file) for file in files], str(output), max_pixels, lambda count: None, overlays)


def mask(output, stem: str) -> np.ndarray:
    opened = Image.open(output / "masks" / f"{stem}.png")
    assert opened.mode == "P"
    return np.asarray(opened)


def sides(values: np.ndarray) -> tuple[set, set]:
    """The values left and right of the middle, but for the few columns on which the border falls."""
    middle = values.shape[1] // 2
    return set(np.unique(values[:, : middle - 4])), set(np.unique(values[:, middle + 4 :]))


@pytest.mark.parametrize(
    "name, photo, options, size",
    [
        ("a.jpg", rgb(20, 230), {}, (40, 56)),
        ("b.jpg", rgb(20, 230, 301, 77), {}, (301, 77)),
        ("c.png", np.dstack([rgb(20, 230), np.full((40, 56), 255, np.uint8)]), {}, (40, 56)),
        ("d.jpg", rgb(20, 230)[..., 0], {}, (40, 56)),
        ("e.bmp", rgb(20, 230), {}, (40, 56)),
        ("f.jpg", np.rot90(rgb(20, 230)).copy(), turned(6), (40, 56)),
        ("g.jpg", np.fliplr(rgb(20, 230)).copy(), turned(2), (40, 56)),
    ],
    ids=["JPEG", "tall JPEG", "PNG with alpha", "grey", "BMP", "held on its side", "mirrored"],
)
def test_a_mask_has_the_upright_photos_size_and_the_users_values(tmp_path, model, name, photo, options, size):
    found = run(model, [save(tmp_path / name, photo, **options)], tmp_path / "out")
    assert found.skipped == {}
    assert [(p.height, p.width) for p in found.photos] == [size]
    stem = os.path.splitext(name)[0]
    values = mask(tmp_path / "out", stem)
    assert values.shape == size
    assert sides(values) == ({NIGHT}, {DAY})
    overlay = Image.open(tmp_path / "out" / "overlays" / f"{stem}.png")
    assert (overlay.mode, overlay.size) == ("RGB", size[::-1])


def test_the_middle_class_is_written_too(tmp_path, model):
    run(model, [save(tmp_path / "a.jpg", rgb(128, 128))], tmp_path / "out")
    assert set(np.unique(mask(tmp_path / "out", "a"))) == {DUSK}


def test_an_overlay_shows_the_photo_where_the_background_is(tmp_path, model):
    run(model, [save(tmp_path / "a.png", rgb(20, 230))], tmp_path / "out")
    overlay = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.png")).astype(int)
    assert np.abs(overlay[:, :20] - 20).max() <= 3
    # The bright half is tinted, so its channels differ from the grey photo and from each other.
    assert overlay[20, 50].max() - overlay[20, 50].min() > 30


def test_broken_photos_are_named_with_their_reason_and_the_others_are_written(tmp_path, model):
    good = [save(tmp_path / f"{n}.jpg", rgb(20, 230)) for n in ("first", "last")]
    bad = {
        save(tmp_path / "text.jpg", b"no photo"): "undecodable_photo",
        save(tmp_path / "empty.jpg", b""): "empty_photo",
        save(tmp_path / "half.jpg", encoded(rgb(20, 230), "JPEG")[:600]): "undecodable_photo",
        save(tmp_path / "large.jpg", rgb(20, 230, 80, 80)): "oversized_photo",
        tmp_path / "gone.jpg": "unreadable_photo",
    }
    found = run(model, [good[0], *bad, good[1]], tmp_path / "out", max_pixels=6399)
    assert {f: why.split(":")[0] for f, why in found.skipped.items()} == {str(f): reason for f, reason in bad.items()}
    assert [p.file for p in found.photos] == [str(file) for file in good]
    assert sorted(os.listdir(tmp_path / "out" / "masks")) == ["first.png", "last.png"]
    assert sorted(os.listdir(tmp_path / "out" / "overlays")) == ["first.png", "last.png"]


def test_a_folder_of_broken_photos_alone_writes_nothing(tmp_path, model):
    file = save(tmp_path / "a.jpg", b"no photo")
    assert list(run(model, [file], tmp_path / "out").skipped) == [str(file)]
    assert not (tmp_path / "out").exists()


def test_each_photo_of_many_gets_its_own_mask_and_progress_counts_them_all(tmp_path, model):
    # More than one batch, of three kinds, so that a mix-up between photos would show.
    greys = [(20, 230), (230, 20), (128, 20)]
    files = [str(save(tmp_path / f"{n:02d}.png", rgb(*greys[n % 3], 20 + n, 40))) for n in range(37)]
    counts = []
    predict(model, files, str(tmp_path / "out"), MAX_PIXELS, counts.append)
    assert sum(counts) == 37
    values = {20: NIGHT, 128: DUSK, 230: DAY}
    for n in range(37):
        written = mask(tmp_path / "out", f"{n:02d}")
        left, right = greys[n % 3]
        assert written.shape == (20 + n, 40)
        assert sides(written) == ({values[left]}, {values[right]})


def test_files_and_folders_expand_to_photos_in_order(tmp_path):
    folder = tmp_path / "folder"
    for name in ("b.jpg", "a.png", "._a.png", "notes.txt", "a.mat"):
        save(folder / name, b"")
    single = save(tmp_path / "z.webp", b"")
    assert expand([str(single), str(folder)]) == [str(single), str(folder / "a.png"), str(folder / "b.jpg")]


def test_a_photo_that_is_named_twice_is_predicted_once(tmp_path, monkeypatch):
    file = str(save(tmp_path / "folder" / "a.jpg", b""))
    monkeypatch.chdir(tmp_path)
    assert expand([file, str(tmp_path / "folder"), "folder/a.jpg", file]) == [file]


@pytest.mark.parametrize(
    "paths, message",
    [
        (["gone.jpg"], "gone.jpg: no such photo or folder"),
        (["empty"], "empty: holds no photo"),
    ],
    ids=["missing", "empty folder"],
)
def test_what_cannot_be_predicted_is_a_usage_error_that_names_it(tmp_path, paths, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        expand([str(tmp_path / path) for path in paths])


def test_photos_of_one_stem_get_masks_of_their_own_beside_those_whose_stem_is_their_own(tmp_path, model):
    kinds = {"one/a.jpg": (20, 230), "two/a.jpg": (230, 20), "two/a.png": (20, 20), "two/b.jpg": (230, 230)}
    files = [save(tmp_path / name, rgb(*greys)) for name, greys in kinds.items()]
    found = run(model, files, tmp_path / "out")
    names = ["one/a.jpg.png", "two/a.jpg.png", "two/a.png.png", "b.png"]
    assert [p.mask for p in found.photos] == [f"masks/{name}" for name in names]
    assert [p.overlay for p in found.photos] == [f"overlays/{name}" for name in names]
    written = [sides(np.asarray(Image.open(tmp_path / "out" / p.mask))) for p in found.photos]
    assert written == [({NIGHT}, {DAY}), ({DAY}, {NIGHT}), ({NIGHT}, {NIGHT}), ({DAY}, {DAY})]
    assert all((tmp_path / "out" / p.overlay).is_file() for p in found.photos)


def test_names_that_come_out_the_same_all_the_same_are_a_usage_error():
    with pytest.raises(UsageError, match="a.jpg.jpg: would write the same mask as x/a.jpg"):
        picture_names(["x/a.jpg", "x/a.png", "y/a.jpg.jpg"])


def test_masks_alone_are_written_where_no_overlays_are_wanted(tmp_path, model):
    found = run(model, [save(tmp_path / "a.jpg", rgb(20, 230))], tmp_path / "out", overlays=False)
    assert [p.overlay for p in found.photos] == [None]
    assert os.listdir(tmp_path / "out") == ["masks"]


def test_the_class_shares_of_a_photo_are_those_of_its_mask(tmp_path, model):
    (found,) = run(model, [save(tmp_path / "a.png", rgb(20, 230, 33, 71))], tmp_path / "out").photos
    values = mask(tmp_path / "out", "a")
    shares = {name: float((values == value).mean()) for name, value in (("night", 7), ("dusk", 40), ("day", 200))}
    assert found.class_shares == pytest.approx(shares)
    assert 0.4 < shares["night"] < 0.6
