"""What a drawn dataset promises: the Pets layout, the same bytes again, and that colour alone cannot solve it."""

import os

import numpy as np
import pytest
from PIL import Image, ImageFilter

from components.errors import UsageError
from components.ingest.draw import draw_dataset
from trainer.confusion import confusion_matrix, scores

CLASSES = ["pet", "background", "contour"]
PET, BACKGROUND, CONTOUR = 1, 2, 3
GATE = 0.50
PHOTOS = 60


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("drawn"))
    draw_dataset(folder, photos=PHOTOS)
    return folder


def _bytes(folder: str) -> dict[str, bytes]:
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def _rows(folder: str, name: str) -> list[list[str]]:
    with open(os.path.join(folder, "annotations", name), encoding="utf-8") as file:
        return [line.split() for line in file]


def _trimap_of(folder: str, stem: str) -> Image.Image:
    return Image.open(os.path.join(folder, "annotations", "trimaps", stem + ".png"))


def _pairs(folder: str, split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(uint8[h, w, 3], uint8[h, w] trimap) of each photo of a list."""
    stems = [row[0] for row in _rows(folder, split)]
    photos = [np.asarray(Image.open(os.path.join(folder, "images", stem + ".jpg"))) for stem in stems]
    return [(photo, np.asarray(_trimap_of(folder, stem))) for photo, stem in zip(photos, stems, strict=True)]


def _breed(stem: str) -> str:
    return stem.rsplit("_", 1)[0]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("other", 4)):
        draw_dataset(str(tmp_path / name), photos=8, seed=seed)
    first, other = _bytes(tmp_path / "a"), _bytes(tmp_path / "other")
    assert first == _bytes(tmp_path / "b")
    assert first.keys() == other.keys()
    assert all(first[path] != other[path] for path in first if not path.endswith(".txt"))


def test_drawing_again_over_a_part_completes_it(tmp_path, drawn):
    draw_dataset(str(tmp_path), photos=8)
    partial = _bytes(tmp_path)
    os.remove(tmp_path / "images" / "Bengal_1.jpg")
    (tmp_path / "images" / "Bengal_2.jpg").write_bytes(b"half")
    draw_dataset(str(tmp_path), photos=8)
    assert _bytes(tmp_path) == partial
    pictures = {path: data for path, data in partial.items() if not path.endswith(".txt")}
    assert pictures.items() <= _bytes(drawn).items(), "a smaller dataset is the beginning of a larger one"


def test_photos_are_rgb_jpegs_and_trimaps_hold_the_three_values(drawn):
    stems = sorted(name[:-4] for name in os.listdir(os.path.join(drawn, "images")))
    assert len(stems) == PHOTOS
    assert [stem + ".png" for stem in stems] == sorted(os.listdir(os.path.join(drawn, "annotations", "trimaps")))
    sizes = set()
    for stem in stems:
        photo, trimap = Image.open(os.path.join(drawn, "images", stem + ".jpg")), _trimap_of(drawn, stem)
        assert (photo.format, photo.mode, trimap.format, trimap.mode) == ("JPEG", "RGB", "PNG", "L")
        assert photo.size == trimap.size
        assert set(np.unique(np.asarray(trimap))) == {PET, BACKGROUND, CONTOUR}
        sizes.add(photo.size)
    assert len(sizes) > PHOTOS / 2
    assert any(width < height for width, height in sizes) and any(width > height for width, height in sizes)
    assert all(110 <= side <= 260 for size in sizes for side in size)


def test_animals_are_large_and_the_contour_is_a_band_around_them(drawn):
    for row in _rows(drawn, "list.txt"):
        trimap = np.asarray(_trimap_of(drawn, row[0]))
        assert 0.15 <= (trimap != BACKGROUND).mean() <= 0.5, row[0]
        for view in (trimap, trimap[:, ::-1], trimap.T, trimap.T[:, ::-1]):
            for step in range(1, 5):
                touching = (view[:, :-step] == PET) & (view[:, step:] == BACKGROUND)
                assert not touching.any(), f"{row[0]}: the band is thinner than 4 pixels"
        core = np.asarray(Image.fromarray((trimap == CONTOUR).astype(np.uint8)).filter(ImageFilter.MinFilter(7)))
        assert core.sum() < 0.05 * (trimap == CONTOUR).sum(), f"{row[0]}: the band is too wide"


def test_lists_match_the_files_and_hold_each_breed_in_both_splits(drawn):
    rows, train, test = (_rows(drawn, name) for name in ("list.txt", "trainval.txt", "test.txt"))
    assert sorted(row[0] + ".jpg" for row in rows) == sorted(os.listdir(os.path.join(drawn, "images")))
    assert sorted(train + test) == sorted(rows)
    assert 0.25 <= len(test) / len(rows) <= 0.35
    breeds = {_breed(row[0]) for row in rows}
    assert len(breeds) == 4
    assert {_breed(row[0]) for row in train} == {_breed(row[0]) for row in test} == breeds
    assert len({(_breed(row[0]), *row[1:]) for row in rows}) == 4, "one class id, species and breed id for each breed"
    assert {(row[0][0].isupper(), row[2]) for row in rows} == {(True, "1"), (False, "2")}


def test_the_smallest_dataset_has_each_breed_in_both_splits(tmp_path):
    draw_dataset(str(tmp_path), photos=8)
    assert [len({_breed(row[0]) for row in _rows(tmp_path, name)}) for name in ("trainval.txt", "test.txt")] == [4, 4]


def _score(pairs, predict) -> dict[str, float]:
    matrix = sum(confusion_matrix(trimap - 1, predict(photo), num_classes=3) for photo, trimap in pairs)
    return scores(matrix, CLASSES, background=1)


def test_background_everywhere_looks_accurate_and_stays_below_the_gate(drawn):
    result = _score(_pairs(drawn, "test.txt"), lambda photo: np.ones(photo.shape[:2], np.uint8))
    assert result["pixel_accuracy"] > 0.6
    assert result["iou/pet"] == result["iou/contour"] == 0
    assert result["mean_iou"] < GATE


@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 1, 1), (2, 1, 4)], ids=["as counted", "more pet", "more contour"])
def test_the_best_colour_predictor_stays_below_the_gate(drawn, weights):
    def colour_bins(photo):
        return (photo // 32).astype(int) @ (64, 8, 1)

    counts = np.zeros((512, 3))
    for photo, trimap in _pairs(drawn, "trainval.txt"):
        np.add.at(counts, (colour_bins(photo), trimap - 1), 1)
    label_of = (counts * weights).argmax(axis=1).astype(np.uint8)
    result = _score(_pairs(drawn, "test.txt"), lambda photo: label_of[colour_bins(photo)])
    assert result["mean_iou"] < GATE - 0.15


def test_texture_tells_the_animal_from_its_surroundings(drawn):
    clear = []
    for photo, trimap in _pairs(drawn, "list.txt"):
        grey = Image.fromarray(photo).convert("L")
        detail = np.abs(np.asarray(grey, float) - np.asarray(grey.filter(ImageFilter.GaussianBlur(4)), float))
        clear.append(detail[trimap == PET].mean() > 1.5 * detail[trimap == BACKGROUND].mean())
    assert np.mean(clear) > 0.9


def test_a_folder_with_other_photos_is_refused_before_anything_is_drawn(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match="mine.jpg"):
        draw_dataset(str(tmp_path), photos=8)
    assert os.listdir(tmp_path / "images") == ["mine.jpg"]


def test_too_few_photos_for_both_splits_are_refused(tmp_path):
    with pytest.raises(UsageError, match="7 are too few; draw 8"):
        draw_dataset(str(tmp_path), photos=7)
