"""predict: a mask and an overlay per photo, of its own size; a broken photo is named and stops nothing."""

import os

import numpy as np
import pytest
from drawing import encoded, halves, save, turned
from PIL import Image

from components.errors import UsageError
from components.inference.predict import expand, predict

NIGHT, DUSK, DAY = 7, 40, 200
"""The mask values of the model's classes."""

MAX_PIXELS = 1_000_000


def rgb(left: int, right: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.repeat(halves(left, right, height, width)[..., np.newaxis], 3, axis=-1)


def run(model, files: list, output, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    return predict(model, [str(file) for file in files], str(output), max_pixels, lambda count: None)


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
    broken = run(model, [save(tmp_path / name, photo, **options)], tmp_path / "out")
    assert broken == {}
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
    broken = run(model, [good[0], *bad, good[1]], tmp_path / "out", max_pixels=6399)
    assert {file: why.split(":")[0] for file, why in broken.items()} == {str(f): reason for f, reason in bad.items()}
    assert sorted(os.listdir(tmp_path / "out" / "masks")) == ["first.png", "last.png"]
    assert sorted(os.listdir(tmp_path / "out" / "overlays")) == ["first.png", "last.png"]


def test_a_folder_of_broken_photos_alone_writes_nothing(tmp_path, model):
    file = save(tmp_path / "a.jpg", b"no photo")
    assert list(run(model, [file], tmp_path / "out")) == [str(file)]
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


def test_a_photo_that_is_named_twice_is_predicted_once(tmp_path):
    file = str(save(tmp_path / "folder" / "a.jpg", b""))
    assert expand([file, str(tmp_path / "folder"), file]) == [file]


@pytest.mark.parametrize(
    "paths, message",
    [
        (["gone.jpg"], "gone.jpg: no such photo or folder"),
        (["empty"], "empty: holds no photo"),
        (["one/a.jpg", "two/a.jpg"], "two/a.jpg: would write the same mask as .*one/a.jpg"),
        (["one", "two"], "two/a.jpg: would write the same mask as .*one/a.jpg"),
        (["three"], "a.png: would write the same mask as .*three/a.jpg"),
    ],
    ids=["missing", "empty folder", "same name", "same name in folders", "same stem"],
)
def test_what_cannot_be_predicted_is_a_usage_error_that_names_it(tmp_path, paths, message):
    (tmp_path / "empty").mkdir()
    for name in ("one/a.jpg", "two/a.jpg", "three/a.jpg", "three/a.png"):
        save(tmp_path / name, b"")
    with pytest.raises(UsageError, match=message):
        expand([str(tmp_path / path) for path in paths])
