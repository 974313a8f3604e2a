"""Ingest from folders to a span and back: everything is counted, nothing is rewritten, and a refusal leaves nothing."""

import hashlib
import io
import json
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from drawing import SAMPLE, decoded, encoded, halves, needs_sample, pet, save, write_lists, write_pair, write_pets
from PIL import Image

from components.errors import RefusedError, UsageError
from components.ingest import shards, workers
from components.ingest.ingest import Outcome, ingest
from components.ingest.settings import DataSettings
from trainer.features import ClassSpec, FeatureSpec

PETS = FeatureSpec()
PHOTO, TRIMAP = pet()
TRAIN, TEST = ["Bengal_1", "Bengal_2", "Birman_1", "pug_1", "pug_2", "beagle_1"], ["Bengal_3", "pug_3"]


def run(
    data: Path,
    source: Path,
    lists: bool = True,
    spec: FeatureSpec = PETS,
    number: int | None = None,
    beam_args: list[str] | None = None,
    **settings,
) -> Outcome:
    """Ingests the Oxford layout in `source`."""
    annotations = source / "annotations"
    return ingest(
        str(data),
        str(source / "images"),
        str(annotations / "trimaps"),
        spec,
        DataSettings(**settings),
        split_lists=str(annotations) if lists else None,
        number=number,
        beam_args=beam_args,
    )


def examples(folder: str | Path, split: str) -> dict[str, dict]:
    """What the shards of a split hold, by file name: feature name -> its single value."""
    found = {}
    for path in sorted(Path(folder).glob(f"{split}-*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            values = {name: getattr(f, f.WhichOneof("kind")).value for name, f in features.items()}
            assert all(len(value) == 1 for value in values.values())
            found[values["filename"][0].decode()] = {name: value[0] for name, value in values.items()}
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(folder: Path) -> dict[str, int]:
    """When each file and folder was last written, in nanoseconds: what TFX's fingerprint of an input looks at."""
    return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


QUIRKS = {
    "Bengal_10": encoded(Image.fromarray(PHOTO).quantize(64), "GIF"),
    "Bengal_11": encoded(np.dstack([PHOTO, np.full((40, 56), 255, np.uint8)]), "PNG"),
    "Bengal_12": encoded(PHOTO[..., 0], "JPEG"),
    "Bengal_13": encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
}
"""What the real dataset hides behind .jpg: a GIF, a PNG with alpha, a greyscale and a CMYK JPEG."""

BROKEN = {
    "broken_1": ("undecodable_photo", encoded(PHOTO, "JPEG")[:500], encoded(TRIMAP, "PNG")),
    "broken_2": ("corrupt_mask", encoded(PHOTO, "JPEG"), encoded(TRIMAP, "PNG")[:60]),
    "broken_3": ("mask_size", encoded(PHOTO, "JPEG"), encoded(TRIMAP[:-1], "PNG")),
    "broken_4": ("mask_value", encoded(PHOTO, "JPEG"), encoded(halves(1, 4), "PNG")),
    "broken_5": ("empty_photo", b"", encoded(TRIMAP, "PNG")),
    "broken_6": ("no_mask", encoded(PHOTO, "JPEG"), None),
}


@pytest.fixture(scope="module")
def quirky(tmp_path_factory) -> SimpleNamespace:
    """A dataset with every quirk of the real one and one file of every kind of damage, ingested."""
    source = write_pets(tmp_path_factory.mktemp("quirky"), TRAIN, TEST)
    images, trimaps = source / "images", source / "annotations" / "trimaps"
    for stem, photo in QUIRKS.items():
        save(images / f"{stem}.jpg", photo)
        save(trimaps / f"{stem}.png", TRIMAP)
    for stem, (_, photo, mask) in BROKEN.items():
        save(images / f"{stem}.jpg", photo)
        if mask is not None:
            save(trimaps / f"{stem}.png", mask)
    write_pair(source, "unlisted_1")
    save(trimaps / "orphan_1.png", TRIMAP)
    save(images / "Bengal_1.mat", b"MATLAB 5.0 MAT-file")
    save(images / "._Bengal_1.jpg", b"\0\5\x16\7")
    save(trimaps / "._Bengal_1.png", b"\0\5\x16\7")
    write_lists(source, [*TRAIN, *QUIRKS, *BROKEN], [*TEST, "absent_1"])
    data = source / "data"
    outcome = run(data, source, max_quarantine=0.9)
    return SimpleNamespace(source=source, data=data, outcome=outcome, folder=Path(outcome.folder))


def test_photos_found_are_ingested_or_quarantined_and_the_manifest_says_so(quirky):
    manifest = json.loads((quirky.folder / "manifest.json").read_text())
    ingested = {split: sum(shard["examples"] for shard in shards) for split, shards in manifest["splits"].items()}
    assert ingested == {"train": len(TRAIN) + len(QUIRKS), "eval": len(TEST)}
    assert manifest["quarantined"] == {reason: 1 for reason, _, _ in BROKEN.values()} | {"not_listed": 1}
    assert manifest["photos_found"] == 19 == sum(ingested.values()) + sum(manifest["quarantined"].values())
    assert manifest["files_ignored"] == 2
    assert quirky.outcome.written
    assert quirky.outcome.manifest.model_dump() == manifest


def test_the_shards_hold_exactly_what_the_manifest_counts(quirky):
    train, evaluation = examples(quirky.folder, "train"), examples(quirky.folder, "eval")
    assert set(train) == {f"{stem}.jpg" for stem in [*TRAIN, *QUIRKS]}
    assert set(evaluation) == {f"{stem}.jpg" for stem in TEST}
    for of_split in quirky.outcome.manifest.splits.values():
        for shard in of_split:
            content = (quirky.folder / shard.name).read_bytes()
            assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_quarantine_names_each_file_its_reason_and_a_detail(quirky):
    entries = [json.loads(line) for line in (quirky.folder / "quarantine.jsonl").read_text().splitlines()]
    named = {(entry["file"], entry["reason"], entry["kind"]) for entry in entries}
    assert named == {(f"{stem}.jpg", reason, "photo") for stem, (reason, _, _) in BROKEN.items()} | {
        ("unlisted_1.jpg", "not_listed", "photo"),
        ("._Bengal_1.jpg", "hidden_name", "hidden file"),
        ("orphan_1.png", "no_photo", "mask"),
        ("absent_1", "no_photo", "list entry"),
    }
    assert len(entries) == len(named)
    assert all(entry["detail"] for entry in entries)


def test_every_photo_is_a_source_with_its_hash_and_its_verdict(quirky):
    sources = {source.photo: source for source in quirky.outcome.manifest.sources}
    photos = {path.name: path for path in (quirky.source / "images").glob("[A-Za-z]*.jpg")}
    assert sources.keys() == photos.keys()
    for name, source in sources.items():
        reason = BROKEN.get(Path(name).stem, ("ingested",))[0]
        assert source.verdict == ("not_listed" if name == "unlisted_1.jpg" else reason)
        # A photo without a usable pair was never opened.
        opened = source.verdict not in ("no_mask", "not_listed")
        assert source.photo_sha256 == (hashlib.sha256(photos[name].read_bytes()).hexdigest() if opened else None)


def test_a_raw_example_has_every_feature_of_the_contract(quirky):
    example = examples(quirky.folder, "train")["beagle_1.jpg"]
    shares = {name: example.pop(f"class_share/{name}") for name in ("pet", "background", "contour")}
    photo, trimap = (quirky.source / path for path in ("images/beagle_1.jpg", "annotations/trimaps/beagle_1.png"))
    brightness = example.pop("brightness")
    assert example == {
        "image": photo.read_bytes(),
        "mask": trimap.read_bytes(),
        "filename": b"beagle_1.jpg",
        "height": 40,
        "width": 56,
        "breed": b"beagle",
        "species": b"dog",
    }
    values = decoded(trimap.read_bytes())
    assert shares == pytest.approx({n: (values == v).mean() for v, n in enumerate(("pet", "background", "contour"), 1)})
    assert brightness == pytest.approx(decoded(photo.read_bytes()).mean() / 255, abs=0.05)


@pytest.mark.parametrize("stem", QUIRKS)
def test_a_photo_that_is_not_what_its_name_says_is_kept_as_a_jpeg(quirky, stem):
    example = examples(quirky.folder, "train")[f"{stem}.jpg"]
    opened = Image.open(io.BytesIO(example["image"]))
    assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (56, 40))
    assert np.array_equal(decoded(example["mask"]), TRIMAP)


def test_a_span_can_be_read_by_others_than_its_owner(quirky):
    assert stat.S_IMODE(quirky.folder.stat().st_mode) == 0o755


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(quirky, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(quirky.source / "images", moved / "images")
    shutil.copytree(quirky.source / "annotations", moved / "annotations")
    other = run(tmp_path / "data", moved, max_quarantine=0.9)
    assert contents(Path(other.folder)) == contents(quirky.folder)


@pytest.mark.parametrize(("threads", "at_once"), [(1, {}), (3, {}), (3, {"PHOTOS": 1}), (1, {"BYTES": 2_000})])
def test_the_same_bytes_are_written_however_many_photos_are_read_at_once(
    quirky, tmp_path, monkeypatch, threads, at_once
):
    for unit, limit in at_once.items():
        monkeypatch.setattr(shards, f"{unit}_AT_ONCE", limit)
    other = run(tmp_path / "data", quirky.source, max_quarantine=0.9, threads=threads)
    assert contents(Path(other.folder)) == contents(quirky.folder)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "number"), [("in_memory", 1), ("multi_processing", 2)])
def test_workers_of_beam_write_the_same_bytes(quirky, tmp_path, mode, number):
    beam_args = ["--runner=DirectRunner", f"--direct_running_mode={mode}", f"--direct_num_workers={number}"]
    other = run(tmp_path / "data", quirky.source, beam_args=beam_args, max_quarantine=0.9)
    assert contents(Path(other.folder)) == contents(quirky.folder)


def test_several_processes_write_the_same_bytes(quirky, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "useful_processes", lambda *_: 2)
    other = run(tmp_path / "data", quirky.source, max_quarantine=0.9)
    assert contents(Path(other.folder)) == contents(quirky.folder)


@pytest.mark.parametrize("number", [None, 1])
def test_ingesting_again_rewrites_nothing(quirky, number):
    before = times(quirky.data)
    again = run(quirky.data, quirky.source, max_quarantine=0.9, number=number)
    assert (again.written, again.folder) == (False, quirky.outcome.folder)
    assert again.manifest == quirky.outcome.manifest
    assert times(quirky.data) == before


@pytest.fixture
def clean(tmp_path) -> Path:
    return write_pets(tmp_path / "source", TRAIN, TEST)


def repaint(source: Path) -> None:
    save(source / "images" / "pug_1.jpg", pet(seed=99)[0], quality=90)


def swap_classes(source: Path) -> None:
    """Another mask in a file of the same size; a PNG may end in zeros."""
    path = source / "annotations" / "trimaps" / "pug_1.png"
    before, swapped = path.stat().st_size, np.array([0, 3, 2, 1], np.uint8)[decoded(path.read_bytes())]
    save(path, encoded(swapped, "PNG", optimize=True).ljust(before, b"\0"))
    assert path.stat().st_size == before


def rename_in_lists(source: Path) -> None:
    write_lists(source, [*TRAIN[1:], TEST[0]], [*TEST[1:], TRAIN[0]])


@pytest.mark.parametrize(
    "change",
    [
        lambda source: write_pair(source, "pug_9", seed=50) or write_lists(source, [*TRAIN, "pug_9"], TEST),
        repaint,
        swap_classes,
        rename_in_lists,
    ],
    ids=["a photo more", "a photo changed", "a mask changed, its size not", "splits changed"],
)
def test_new_input_makes_the_next_span_and_leaves_the_old_one(tmp_path, clean, change):
    data = tmp_path / "data"
    run(data, clean)
    before = times(data / "span-1")
    change(clean)
    outcome = run(data, clean)
    assert (outcome.written, outcome.manifest.span) == (True, 2)
    assert times(data / "span-1") == before


def test_other_classes_make_another_span_of_the_same_files(tmp_path, clean):
    run(tmp_path / "data", clean)
    merged = FeatureSpec(classes=(ClassSpec(name="pet", values=(1, 3)), ClassSpec(name="background", values=(2,))))
    outcome = run(tmp_path / "data", clean, spec=merged)
    assert (outcome.written, outcome.manifest.span) == (True, 2)
    example = examples(outcome.folder, "train")["pug_1.jpg"]
    assert sorted(n for n in example if n.startswith("class_share/")) == ["class_share/background", "class_share/pet"]


def test_another_order_of_slice_rules_makes_another_span(tmp_path, clean):
    # The first rule that matches decides, so the order decides what the examples hold.
    rules = [("^p", "P"), ("^pug", "pug")]
    first, second = (
        run(tmp_path / "data", clean, slice_keys={"kind": dict(order)}).folder for order in (rules, rules[::-1])
    )
    assert examples(first, "eval")["pug_3.jpg"]["kind"] == b"P"
    assert examples(second, "eval")["pug_3.jpg"]["kind"] == b"pug"


def test_a_span_number_can_be_chosen_while_it_is_free(tmp_path, clean):
    data = tmp_path / "data"
    assert run(data, clean, number=7).manifest.span == 7
    repaint(clean)
    assert run(data, clean).manifest.span == 8
    write_pair(clean, "pug_1", seed=77)
    before = times(data)
    with pytest.raises(UsageError, match="--span 7: exists with other input"):
        run(data, clean, number=7)
    assert times(data) == before


def test_another_photo_without_a_mask_makes_no_span_but_is_named(tmp_path, clean):
    """Nothing new would train; still the photo must not go unsaid."""
    save(clean / "images" / "lonely_1.jpg", PHOTO)
    run(tmp_path / "data", clean, max_quarantine=0.5)
    (clean / "images" / "lonely_1.jpg").rename(clean / "images" / "lonely_2.jpg")
    second = run(tmp_path / "data", clean, max_quarantine=0.5)
    assert (second.written, second.held) == (False, [1])
    assert [(os.path.basename(entry.file), entry.reason) for entry in second.left_out] == [("lonely_2.jpg", "no_mask")]


def test_too_many_quarantined_photos_are_refused_and_leave_no_span(tmp_path, clean):
    for stem in ("pug_1", "pug_2"):
        save(clean / "images" / f"{stem}.jpg", b"no photo")
    data = tmp_path / "data"
    expected = r"2 of 8 photos are quarantined \(2 undecodable_photo\).*share 0.2"
    with pytest.raises(RefusedError, match=expected) as refusal:
        run(data, clean, max_quarantine=0.2)
    assert refusal.value.exit_status == 3
    # No span, not even a temporary one; only the list of what to mend, which the message names.
    assert os.listdir(data) == ["quarantine.jsonl"]
    assert str(data / "quarantine.jsonl") in str(refusal.value)
    named = [json.loads(line)["file"] for line in (data / "quarantine.jsonl").read_text().splitlines()]
    assert named == ["pug_1.jpg", "pug_2.jpg"]


@pytest.mark.parametrize("allowed, passes", [(0.25, True), (0.249, False), (0.0, False)])
def test_the_allowed_share_of_quarantined_photos_is_inclusive(tmp_path, clean, allowed, passes):
    for stem in ("pug_1", "pug_2"):
        (clean / "annotations" / "trimaps" / f"{stem}.png").unlink()
    if passes:
        assert run(tmp_path / "data", clean, max_quarantine=allowed).manifest.ingested == 6
    else:
        with pytest.raises(RefusedError):
            run(tmp_path / "data", clean, max_quarantine=allowed)


@pytest.mark.parametrize("train, test, empty", [(TRAIN + TEST, [], "eval"), ([], TRAIN + TEST, "train")])
def test_an_empty_split_is_refused_by_name_and_leaves_no_span(tmp_path, clean, train, test, empty):
    write_lists(clean, train, test)
    with pytest.raises(RefusedError, match=f"the {empty} split is empty"):
        run(tmp_path / "data", clean)
    assert os.listdir(tmp_path / "data") == []


def test_what_a_killed_ingest_left_disturbs_nothing(tmp_path, clean):
    save(tmp_path / "data" / ".span-1-k1ll3d" / "train-00000-of-00001.tfrecord", b"half a shard")
    outcome = run(tmp_path / "data", clean)
    assert (outcome.manifest.span, outcome.manifest.ingested) == (1, 8)
    assert os.listdir(tmp_path / "data") == ["span-1"], "what was left behind takes no disk either"


def test_a_link_that_leads_nowhere_is_quarantined(tmp_path, clean):
    # Datasets are often folders of links into an archive; one that broke must not stop the other photos.
    photo = clean / "images" / "pug_1.jpg"
    photo.unlink()
    photo.symlink_to(tmp_path / "gone.jpg")
    outcome = run(tmp_path / "data", clean, max_quarantine=0.5)
    assert outcome.manifest.quarantined == {"unreadable_photo": 1}


def test_a_file_name_that_is_no_utf8_is_ingested_like_any_other(tmp_path, clean):
    for folder, suffix in ((clean / "images", ".jpg"), (clean / "annotations" / "trimaps", ".png")):
        os.rename(folder / f"pug_1{suffix}", os.fsencode(folder) + b"/caf\xe9_1" + suffix.encode())
    outcome = run(tmp_path / "data", clean, lists=False, eval_share=0.5)
    assert outcome.manifest.ingested == 8
    assert not run(tmp_path / "data", clean, lists=False, eval_share=0.5).written


def test_any_two_folders_with_matching_stems_and_own_classes_are_enough(tmp_path):
    spec = FeatureSpec(
        classes=(ClassSpec(name="road", values=(0,)), ClassSpec(name="car", values=(10, 11))),
        ignore_values=(255,),
        background="road",
    )
    values = np.zeros((40, 56), np.uint8)
    values[:, 14:21], values[:, 21:28], values[:, 28:] = 10, 11, 255
    for number in range(12):
        save(tmp_path / "p" / f"ulm-{number}.png", pet(seed=number)[0])
        save(tmp_path / "m" / f"ulm-{number}.png", values)
    settings = DataSettings(slice_keys={"city": {r"^(\w+)-": r"\1"}}, eval_share=0.4)
    outcome = ingest(str(tmp_path / "data"), str(tmp_path / "p"), str(tmp_path / "m"), spec, settings)
    assert outcome.manifest.photos_found == outcome.manifest.ingested == 12
    example = examples(outcome.folder, "eval").popitem()[1]
    assert example["city"] == b"ulm"
    # Half of the pixels are ignored; of those that count, half are road.
    assert (example["class_share/road"], example["class_share/car"]) == (0.5, 0.5)
    assert np.array_equal(decoded(example["mask"]), values)


@needs_sample
def test_the_real_sample_is_ingested_whole(tmp_path):
    outcome = run(tmp_path / "data", SAMPLE)
    manifest = outcome.manifest
    assert (manifest.photos_found, manifest.ingested, manifest.files_ignored) == (480, 478, 3)
    assert (manifest.examples("train"), manifest.examples("eval")) == (300, 178)
    assert manifest.quarantined == {"not_listed": 2}
    assert sum(len(examples(outcome.folder, split)) for split in ("train", "eval")) == 478
