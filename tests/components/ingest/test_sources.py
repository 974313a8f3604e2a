"""Pairing by stem, what is ignored, what is quarantined before it is opened, and how photos get their split."""

import os

import pytest
from drawing import SAMPLE, needs_sample, write_lists

from components.errors import UsageError
from components.ingest.sources import find_sources, photo_files, read_split_lists

NO_PHOTO = "no_photo"


def touch(folder, *names: str) -> str:
    """Empty files: pairing looks at names alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return str(folder)


def quarantined(found) -> set[tuple[str, str, str]]:
    return {(os.path.basename(q.file), q.reason, q.kind) for q in found.quarantined}


def test_photos_and_masks_pair_by_stem_whatever_their_formats(tmp_path):
    photos = touch(tmp_path / "photos", "b.JPG", "a.jpeg", "c.png")
    masks = touch(tmp_path / "masks", "a.png", "b.gif", "c.TIF")
    found = find_sources(photos, masks, split_lists=None, eval_share=0.5)
    pairs = [(p.stem, os.path.basename(p.photo), os.path.basename(p.mask)) for p in found.pairs]
    assert pairs == [("a", "a.jpeg", "a.png"), ("b", "b.JPG", "b.gif"), ("c", "c.png", "c.TIF")]
    assert (found.photos_found, found.files_ignored, found.quarantined) == (3, 0, [])


@pytest.mark.parametrize("stray", ["cat_1.mat", ".DS_Store", "Thumbs.db", "notes", "cat_1.jpg.part"])
def test_what_is_no_photo_is_ignored_and_counted(tmp_path, stray):
    photos = touch(tmp_path / "photos", "cat_1.jpg", stray)
    masks = touch(tmp_path / "masks", "cat_1.png", "._cat_1.png")
    found = find_sources(photos, masks, split_lists=None, eval_share=0.5)
    assert [p.stem for p in found.pairs] == ["cat_1"]
    assert (found.photos_found, found.files_ignored, found.quarantined) == (1, 1, [])


@pytest.mark.parametrize("hidden", ["._cat_1.jpg", ".hidden.png"])
def test_a_hidden_photo_is_ignored_counted_and_named(tmp_path, hidden):
    photos = touch(tmp_path / "photos", "cat_1.jpg", hidden)
    masks = touch(tmp_path / "masks", "cat_1.png", "._cat_1.png", ".hidden.png")
    found = find_sources(photos, masks, split_lists=None, eval_share=0.5)
    assert [p.stem for p in found.pairs] == ["cat_1"]
    assert (found.photos_found, found.files_ignored) == (1, 1)
    assert quarantined(found) == {(hidden, "hidden_name", "hidden file")}


def test_a_stem_with_spaces_is_found_in_a_list_with_and_without_numbers(tmp_path):
    stems = ["my cat", "my cat 1", "my dog", "#1 pug"]
    (tmp_path / "train.txt").write_text("#a comment\nmy cat 1 1 1\n#1 pug\nlost 1 1 1\n")
    (tmp_path / "test.txt").write_text("my cat\nmy dog 2 2 2\n")
    split_of = read_split_lists(str(tmp_path), stems)
    assert split_of == {"my cat 1": "train", "#1 pug": "train", "lost": "train", "my cat": "eval", "my dog": "eval"}


def test_a_folder_that_is_named_like_a_photo_is_ignored(tmp_path):
    photos, masks = touch(tmp_path / "photos", "a.jpg"), touch(tmp_path / "masks", "a.png")
    (tmp_path / "photos" / "b.jpg").mkdir()
    found = find_sources(photos, masks, split_lists=None, eval_share=0.5)
    assert (found.photos_found, found.files_ignored) == (1, 1)


@pytest.mark.parametrize(
    "photos, masks, train, expected",
    [
        (["a.jpg"], [], None, {("a.jpg", "no_mask", "photo")}),
        (["a.jpg", "a.png"], ["a.png"], None, {(f"a.{s}", "duplicate_stem", "photo") for s in ("jpg", "png")}),
        (["a.jpg"], ["a.png", "a.gif"], None, {("a.jpg", "duplicate_stem", "photo")}),
        (["a.jpg"], ["a.png"], ["other"], {("a.jpg", "not_listed", "photo"), ("other", NO_PHOTO, "list entry")}),
        (["keep.jpg"], ["keep.png", "a.png"], None, {("a.png", NO_PHOTO, "mask")}),
        (["keep.jpg"], ["keep.png"], ["keep", "a"], {("a", NO_PHOTO, "list entry")}),
    ],
    ids=["no mask", "two photos", "two masks", "not listed", "mask alone", "list entry alone"],
)
def test_pairless_files_are_quarantined_with_their_reason(tmp_path, photos, masks, train, expected):
    lists = None
    if train is not None:
        write_lists(tmp_path, train, [])
        lists = str(tmp_path / "annotations")
    found = find_sources(touch(tmp_path / "photos", *photos), touch(tmp_path / "masks", *masks), lists, 0.5)
    assert quarantined(found) == expected
    # Nothing is lost: only photos count as found, and each is in a pair or in the quarantine.
    assert found.photos_found == len(photos)
    assert found.photos_found == len(found.pairs) + sum(q.kind == "photo" for q in found.quarantined)


def test_split_lists_decide_the_split(tmp_path):
    photos, masks = touch(tmp_path / "photos", "a.jpg", "b.jpg"), touch(tmp_path / "masks", "a.png", "b.png")
    write_lists(tmp_path, train=["b"], test=["a"])
    found = find_sources(photos, masks, str(tmp_path / "annotations"), eval_share=0.5)
    assert {p.stem: p.split for p in found.pairs} == {"a": "eval", "b": "train"}


@pytest.mark.parametrize(
    "train_list, eval_list", [("trainval.txt", "test.txt"), ("train.txt", "val.txt"), ("train.txt", "eval.txt")]
)
def test_split_lists_go_by_the_usual_names(tmp_path, train_list, eval_list):
    # Pets' own lists open with comment lines and have three numbers after the stem.
    (tmp_path / train_list).write_text("#Image CLASS-ID SPECIES BREED ID\n\nAbyssinian_100 1 1 1\n")
    (tmp_path / eval_list).write_text("pug_2\n")
    assert read_split_lists(str(tmp_path)) == {"Abyssinian_100": "train", "pug_2": "eval"}


def test_a_list_saved_by_a_windows_editor_keeps_its_first_stem(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    (tmp_path / "test.txt").write_bytes(b"c\r\n")
    assert read_split_lists(str(tmp_path)) == {"a": "train", "b": "train", "c": "eval"}


@pytest.mark.parametrize("missing", ["trainval.txt", "test.txt"])
def test_a_missing_list_is_a_usage_error_that_names_what_is_looked_for(tmp_path, missing):
    write_lists(tmp_path, ["a"], ["b"])
    (tmp_path / "annotations" / missing).unlink()
    with pytest.raises(UsageError, match=f"--split-lists .*annotations: holds none of .*{missing}"):
        read_split_lists(str(tmp_path / "annotations"))


def test_a_name_that_is_no_utf8_is_found_through_its_list(tmp_path):
    # Old archives hold Latin-1 names; the list and the folder then hold the same bytes.
    photos, masks = touch(tmp_path / "photos"), touch(tmp_path / "masks")
    for path in (photos + "/caf\udce9.jpg", masks + "/caf\udce9.png"):
        open(os.fsencode(path), "w").close()
    (tmp_path / "train.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "test.txt").write_bytes(b"\n")
    found = find_sources(photos, masks, str(tmp_path), 0.5)
    assert [(p.stem, p.split) for p in found.pairs] == [("caf\udce9", "train")]


def test_a_stem_in_both_lists_is_a_usage_error_that_names_it(tmp_path):
    write_lists(tmp_path, train=["a", "twice"], test=["twice", "b"])
    with pytest.raises(UsageError, match="test.txt: twice is in both lists"):
        read_split_lists(str(tmp_path / "annotations"))


def test_a_stem_that_one_list_repeats_is_fine(tmp_path):
    write_lists(tmp_path, train=["a", "a"], test=["b"])
    assert read_split_lists(str(tmp_path / "annotations")) == {"a": "train", "b": "eval"}


def split_by_hash(tmp_path, stems: list[str], eval_share: float, folder: str = "hashed") -> dict[str, str]:
    photos = touch(tmp_path / folder / "photos", *(f"{stem}.jpg" for stem in stems))
    masks = touch(tmp_path / folder / "masks", *(f"{stem}.png" for stem in stems))
    return {p.stem: p.split for p in find_sources(photos, masks, None, eval_share).pairs}


def test_without_lists_the_name_decides_the_same_way_everywhere_and_always(tmp_path):
    # Literal values: were the hash to change, a photo that trained last month would evaluate this month.
    split = split_by_hash(tmp_path, ["a", "b", "c", "d", "cat_1", "cat_2"], eval_share=0.5)
    assert split == {"a": "eval", "b": "eval", "c": "eval", "d": "eval", "cat_1": "train", "cat_2": "train"}


def test_new_photos_do_not_move_old_ones_between_splits(tmp_path):
    old = [f"cat_{n}" for n in range(50)]
    before = split_by_hash(tmp_path, old, 0.3, "before")
    after = split_by_hash(tmp_path, [*old, *(f"dog_{n}" for n in range(50))], 0.3, "after")
    assert before.items() <= after.items()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_hash_gives_about_the_configured_share(tmp_path, share):
    split = split_by_hash(tmp_path, [f"photo_{n}" for n in range(1000)], share)
    assert list(split.values()).count("eval") / 1000 == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize(
    "photos, masks, message",
    [
        (None, ["a.png"], "--images .*photos: no such folder"),
        (["a.jpg"], None, "--masks .*masks: no such folder"),
        ([], ["a.png"], "--images .*photos: holds no photo"),
        (["a.mat"], ["a.png"], "--images .*photos: holds no photo"),
    ],
)
def test_a_wrong_folder_is_a_usage_error_that_names_it(tmp_path, photos, masks, message):
    for name, files in (("photos", photos), ("masks", masks)):
        if files is not None:
            touch(tmp_path / name, *files)
    with pytest.raises(UsageError, match=message):
        find_sources(str(tmp_path / "photos"), str(tmp_path / "masks"), None, 0.5)


def test_photo_files_lists_photos_alone_by_name(tmp_path):
    folder = touch(tmp_path / "photos", "b.jpg", "a.png", "a.mat", "._b.jpg")
    assert [os.path.basename(file) for file in photo_files(folder)] == ["a.png", "b.jpg"]


@needs_sample
def test_the_real_sample_pairs_as_its_lists_say():
    lists = str(SAMPLE / "annotations")
    found = find_sources(str(SAMPLE / "images"), str(SAMPLE / "annotations" / "trimaps"), lists, 0.2)
    splits = [p.split for p in found.pairs]
    assert (found.photos_found, splits.count("train"), splits.count("eval")) == (480, 300, 178)
    assert found.files_ignored == 3
    photos = [q.reason for q in found.quarantined if q.kind == "photo"]
    assert photos == ["not_listed"] * 2
