"""Photos that train and evaluate: found by content and by likeness, never where photos merely resemble each other."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from drawing import SAMPLE, encoded, needs_sample, pet, save, write_lists, write_pets
from PIL import Image, ImageEnhance

from components.errors import RefusedError
from components.ingest.draw import draw_dataset
from components.ingest.duplicates import find_duplicates, perceptual_hash
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.ingest.spans import SourceFile
from pipeline.cli import main
from trainer.features import FeatureSpec

LIMIT = DataSettings().duplicate_distance


def source(photo: str, perceptual: str | None, sha256: str | None = None) -> SourceFile:
    return SourceFile(
        photo=photo,
        mask="m.png",
        photo_sha256=sha256 or photo,
        mask_sha256="m",
        photo_bytes=1,
        mask_bytes=1,
        split=None,
        verdict="ingested",
        perceptual_hash=perceptual,
    )


def bits_apart(a: str, b: str) -> int:
    return bin(int(a, 16) ^ int(b, 16)).count("1")


def test_the_hash_is_the_one_that_other_tools_know():
    # ImageHash 4.3's `phash` gives the same.
    greys = [np.asarray(Image.fromarray(pet(seed=seed)[0]).convert("L")) for seed in (1, 2)]
    assert [perceptual_hash(grey) for grey in greys] == ["c63939c4343fc8f8", "989867639e9c8c5b"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[Image.Image]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(str(folder), photos=60)
    return [Image.open(path).convert("RGB") for path in sorted((folder / "images").iterdir())]


def as_jpeg(photo: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(photo, "JPEG", quality=quality)))


def cut(photo: Image.Image) -> Image.Image:
    return photo.crop((1, 1, photo.width - 1, photo.height - 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda photo: as_jpeg(photo, 30),
        lambda photo: photo.resize((photo.width * 2, photo.height * 2)),
        lambda photo: photo.reduce(2),
        lambda photo: photo.convert("L").convert("RGB"),
        lambda photo: ImageEnhance.Brightness(photo).enhance(1.1),
        cut,
    ],
    ids=["encoded at quality 30", "twice as large", "half as large", "grey", "brighter", "cut by a pixel"],
)
def test_a_changed_copy_is_near_its_photo(drawn, change):
    distances = [
        bits_apart(*(perceptual_hash(np.asarray(p.convert("L"))) for p in (photo, change(photo)))) for photo in drawn
    ]
    assert max(distances) <= LIMIT


def test_no_two_drawn_photos_are_near_duplicates(drawn):
    sources = [source(f"{n}", perceptual_hash(np.asarray(photo.convert("L")))) for n, photo in enumerate(drawn)]
    assert all(s.perceptual_hash for s in sources)
    assert all(find_duplicates([s], [o for o in sources if o is not s], LIMIT) == [] for s in sources)


def test_photos_of_one_colour_have_no_hash_that_would_make_them_alike():
    noise = np.random.default_rng(0).integers(-3, 4, (90, 120))
    for grey in (0, 90, 255):
        assert perceptual_hash((grey + noise).clip(0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("max_distance", [0, 1, 6, 16])
def test_the_search_by_bands_finds_what_comparing_all_with_all_finds(max_distance):
    rng = np.random.default_rng(max_distance)
    training = rng.integers(0, 2**63, 300).tolist()
    evaluation = []
    for near in training[:100]:
        flipped = rng.choice(64, rng.integers(0, 20), replace=False)
        evaluation.append(near ^ sum(1 << int(bit) for bit in flipped))
    evaluation += rng.integers(0, 2**63, 100).tolist()
    train = [source(f"t{n:03d}", f"{h:016x}") for n, h in enumerate(training)]
    evals = [source(f"e{n:03d}", f"{h:016x}") for n, h in enumerate(evaluation)]
    expected = {}
    for e in evals:
        near = [bits_apart(e.perceptual_hash, t.perceptual_hash) for t in train]
        count = sum(distance <= max_distance for distance in near)
        if count:
            expected[e.photo] = (min(near), count - 1)
    found = {d.photo: (d.distance, d.further) for d in find_duplicates(evals, train, max_distance)}
    assert found == expected and expected


def test_the_same_bytes_count_before_likeness_and_without_a_hash():
    train = [source("a", "0" * 16, "x"), source("b", None, "y"), source("c", "0" * 15 + "1", "z")]
    same, flat, near = find_duplicates(
        [source("1", "0" * 16, "x"), source("2", None, "y"), source("3", "0" * 15 + "3", "w")], train, 1
    )
    assert (same.training_photo, same.same_file, same.distance, same.further) == ("a", True, 0, 1)
    assert (flat.training_photo, flat.same_file, flat.further) == ("b", True, 0)
    assert (near.training_photo, near.same_file, near.distance, near.further) == ("c", False, 1, 0)


@pytest.fixture
def leaky(tmp_path) -> Path:
    """Four evaluation photos: one is a training photo under another name, one is another encoded again."""
    folder = write_pets(tmp_path / "source", ["pug_1", "pug_2", "pug_3"], ["pug_4", "pug_5", "copy_1", "again_2"])
    images, trimaps = folder / "images", folder / "annotations" / "trimaps"
    (images / "copy_1.jpg").write_bytes((images / "pug_1.jpg").read_bytes())
    save(images / "again_2.jpg", Image.open(images / "pug_2.jpg"), quality=60)
    for copy, of in (("copy_1", "pug_1"), ("again_2", "pug_2")):
        (trimaps / f"{copy}.png").write_bytes((trimaps / f"{of}.png").read_bytes())
    return folder


def segpipe_ingest(source: Path, workspace: Path, *options: str):
    annotations = source / "annotations"
    folders = ["--images", source / "images", "--masks", annotations / "trimaps", "--split-lists", annotations]
    return CliRunner().invoke(main, ["ingest", *map(str, folders), "--workspace", str(workspace), *options])


def test_duplicates_are_reported_and_refused_above_the_allowed_share(tmp_path, leaky):
    allowed = segpipe_ingest(leaky, tmp_path / "w", "--max-duplicates", "0.5")
    assert allowed.exit_code == 0
    named = tmp_path / "w" / "data" / "span-1" / "duplicates.jsonl"
    said = f"2 evaluation photos also train (1 near_duplicate, 1 same_file); {named} names them"
    assert allowed.stdout.splitlines()[-1] == said
    again, copy = (json.loads(line) for line in named.read_text().splitlines())
    assert (copy["photo"], copy["training_photo"], copy["same_file"]) == ("copy_1.jpg", "pug_1.jpg", True)
    assert (again["photo"], again["training_photo"], again["same_file"]) == ("again_2.jpg", "pug_2.jpg", False)
    assert 0 <= again["distance"] <= LIMIT
    manifest = json.loads(named.with_name("manifest.json").read_text())
    assert manifest["duplicates"] == {"near_duplicate": 1, "same_file": 1}
    assert all(len(s["perceptual_hash"]) == 16 for s in manifest["sources"])

    refused = segpipe_ingest(leaky, tmp_path / "other")
    assert refused.exit_code == 3
    assert "2 of 4 evaluation photos also train" in refused.stderr
    assert "again_2.jpg is pug_2.jpg" in refused.stderr
    # No span; only the list of what to mend, which the message names.
    data = tmp_path / "other" / "data"
    assert os.listdir(data) == ["duplicates.jsonl"] and str(data / "duplicates.jsonl") in refused.stderr
    assert (data / "duplicates.jsonl").read_text() == named.read_text()


def test_the_same_photo_twice_in_one_split_is_nobodys_leak(tmp_path, leaky):
    write_lists(leaky, ["pug_1", "pug_2", "copy_1", "again_2"], ["pug_3", "pug_4", "pug_5"])
    assert segpipe_ingest(leaky, tmp_path / "w").exit_code == 0


def sample_of(folder: Path, train: list[str], test: list[str]) -> Path:
    """Links to some real photos, with lists of one's own."""
    for kind, suffix in (("images", ".jpg"), ("annotations/trimaps", ".png")):
        (folder / kind).mkdir(parents=True)
        for stem in [*train, *test]:
            (folder / kind / f"{stem}{suffix}").symlink_to(SAMPLE.resolve() / kind / f"{stem}{suffix}")
    write_lists(folder, train, test)
    return folder


@needs_sample
def test_a_real_near_duplicate_is_found(tmp_path):
    # Two files of the dataset show one picture; both train in its own lists.
    folder = sample_of(tmp_path / "s", ["Abyssinian_11", "Abyssinian_122"], ["Abyssinian_177", "Abyssinian_172"])
    annotations = folder / "annotations"
    places = (str(tmp_path / "data"), str(folder / "images"), str(annotations / "trimaps"))
    with pytest.raises(RefusedError, match=r"2 of 2 evaluation photos also train \(2 near_duplicate; .*_172.jpg is"):
        ingest(*places, FeatureSpec(), DataSettings(), split_lists=str(annotations))


def test_tests_draw_photos_that_differ():
    sources = [source(f"{seed:02d}", perceptual_hash(pet(seed=seed)[0][..., 1])) for seed in range(24)]
    assert find_duplicates(sources[:12], sources[12:], LIMIT) == []
