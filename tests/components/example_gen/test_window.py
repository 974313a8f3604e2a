"""Windows: one path for one set of records, and no photo that trains and evaluates in the same window."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from components.errors import UsageError
from components.example_gen.window import read_window, write_window
from components.ingest.spans import Manifest, SourceFile, span_folder, write_record


def write_span(data: Path, number: int, train: dict[str, str], evaluation: dict[str, str], broken=None) -> None:
    """The manifest of a span; each split maps a photo's name to its content. `broken` photos are quarantined."""
    photos = [(name, content, "train", "ingested") for name, content in train.items()]
    photos += [(name, content, "eval", "ingested") for name, content in evaluation.items()]
    photos += [(name, content, "train", "mask_size") for name, content in (broken or {}).items()]
    sources = [
        SourceFile(
            photo=name,
            mask=name + ".png",
            photo_sha256=hashlib.sha256(content.encode()).hexdigest(),
            mask_sha256="0" * 64,
            photo_bytes=len(content),
            mask_bytes=1,
            split=split,
            verdict=verdict,
        )
        for name, content, split, verdict in photos
    ]
    manifest = Manifest(
        span=number,
        tool_version="1.0",
        settings={},
        splits={"train": [], "eval": []},
        photos_found=len(sources),
        quarantined={},
        files_ignored=0,
        sources=sources,
    )
    os.makedirs(span_folder(str(data), number))
    write_record(os.path.join(span_folder(str(data), number), "manifest.json"), manifest)


@pytest.fixture
def data(tmp_path) -> Path:
    """Three spans of different photos."""
    for number in (1, 2, 10):
        write_span(tmp_path, number, {f"t{number}.jpg": f"train {number}"}, {f"e{number}.jpg": f"eval {number}"})
    return tmp_path


def test_a_window_lists_its_spans_in_order_of_their_numbers(data):
    window = read_window(write_window(str(data), [10, 2, 1]))
    assert [span.number for span in window.spans] == [1, 2, 10]
    assert [span.folder for span in window.spans] == [str(data / f"span-{n}") for n in (1, 2, 10)]


def test_all_spans_train_and_the_newest_alone_evaluates(data):
    window = read_window(write_window(str(data), [1, 2, 10]))
    assert [span.number for span in window.of_split("train")] == [1, 2, 10]
    assert [span.number for span in window.of_split("eval")] == [10]


def test_the_same_content_has_the_same_path_and_is_not_written_again(data):
    first = write_window(str(data), [1, 2])
    written = os.stat(first).st_mtime_ns
    assert write_window(str(data), [2, 1]) == first
    assert os.stat(first).st_mtime_ns == written
    assert [str(path) for path in (data / "windows").glob("*/*")] == [first]


def test_other_spans_have_another_path_and_the_old_one_stays(data):
    paths = {write_window(str(data), numbers) for numbers in ([1], [2], [1, 2], [1, 2, 10])}
    assert len(paths) == 4
    assert all(os.path.isfile(path) for path in paths)


def test_a_window_is_found_from_any_folder(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    path = write_window(data.name, [1])
    assert os.path.isabs(path)
    assert all(os.path.isabs(span.folder) for span in read_window(path).spans)
    assert path == write_window(str(data), [1])


def rewrite(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"photos_found": 3}))


@pytest.mark.parametrize("change", [rewrite, os.remove], ids=["changed", "gone"])
def test_a_manifest_that_is_not_what_was_planned_is_refused_by_name(data, change):
    path = write_window(str(data), [1, 2])
    change(data / "span-1" / "manifest.json")
    with pytest.raises(UsageError, match="span-1/manifest.json: is gone or changed since the run was planned"):
        read_window(path)


def test_a_changed_manifest_makes_another_window(data):
    before = write_window(str(data), [1])
    rewrite(data / "span-1" / "manifest.json")
    assert write_window(str(data), [1]) != before


def test_a_span_that_does_not_exist_is_a_usage_error(data):
    with pytest.raises(UsageError, match="span 4: not in"):
        write_window(str(data), [1, 4])


def test_an_evaluation_photo_that_trains_in_an_older_span_is_refused_by_name(data):
    # The same bytes under another name: a rename must not get an evaluation photo into training.
    write_span(data, 11, {"t11.jpg": "train 11"}, {"renamed.jpg": "train 2", "e11.jpg": "eval 11"})
    with pytest.raises(UsageError, match=r"span 2: training photo t2.jpg is evaluation photo renamed.jpg of span 11"):
        write_window(str(data), [1, 2, 11])
    assert not (data / "windows").exists()


@pytest.mark.parametrize(
    "newest",
    [
        {"train": {"t2.jpg": "train 2"}, "evaluation": {"e.jpg": "eval 11"}},
        {"train": {"t.jpg": "train 11"}, "evaluation": {"e2.jpg": "eval 2"}},
        {"train": {"e2.jpg": "eval 2"}, "evaluation": {"e.jpg": "eval 11"}},
        {"train": {"t.jpg": "train 11"}, "evaluation": {"t2.jpg": "another photo of this name"}},
    ],
    ids=["trains again", "evaluates again", "evaluated once and trains now", "same name, other photo"],
)
def test_what_no_score_can_profit_from_is_allowed(data, newest):
    write_span(data, 11, **newest)
    assert read_window(write_window(str(data), [2, 11]))


def test_a_photo_that_was_quarantined_did_not_train(data):
    write_span(data, 11, {"t.jpg": "train 11"}, {"e.jpg": "eval 11"}, broken={"b.jpg": "refused photo"})
    write_span(data, 12, {"t.jpg": "train 12"}, {"e.jpg": "refused photo"})
    assert read_window(write_window(str(data), [11, 12]))
