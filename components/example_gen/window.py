"""Windows: an immutable list of spans that one run trains and evaluates on.

The path holds the hash of the content, and the content the hash of each span's manifest. So one path stands for one set
of records, on every engine, and TFX's cache sees a new path exactly when the data are new.
"""

import json
import os

from components.content_path import write_by_content
from components.errors import UsageError
from components.ingest.spans import MANIFEST, Record, file_sha256, read_manifest, read_record, span_folder


class WindowSpan(Record):
    """One span of a window: its folder and the SHA-256 of its manifest."""

    number: int
    folder: str
    manifest_sha256: str


class Window(Record):
    """Spans in ascending order. All of them train; the newest alone evaluates."""

    spans: list[WindowSpan]

    def of_split(self, split: str) -> list[WindowSpan]:
        """The spans that a split reads."""
        return self.spans if split == "train" else self.spans[-1:]


def write_window(data: str, numbers: list[int]) -> str:
    """Writes the window of the given spans, if it is not there yet.

    Args:
      data: the folder of spans.
      numbers: spans, at least one.

    Returns:
      The window's path, the same for the same content.

    Raises:
      UsageError: if a span does not exist or an evaluation photo is in a training span.
    """
    _refuse_leaks(data, sorted(numbers))
    spans = []
    for number in sorted(numbers):
        folder = os.path.abspath(span_folder(data, number))
        digest = file_sha256(os.path.join(folder, MANIFEST))
        spans.append(WindowSpan(number=number, folder=folder, manifest_sha256=digest))
    text = json.dumps(Window(spans=spans).model_dump(), indent=1, sort_keys=True) + "\n"
    return write_by_content(os.path.join(data, "windows"), "window.json", text)


def read_window(path: str) -> Window:
    """Reads a window and holds its spans' manifests against the recorded hashes.

    Raises:
      UsageError: if a span changed since the window was written.
    """
    window = read_record(path, Window)
    for span in window.spans:
        manifest = os.path.join(span.folder, MANIFEST)
        if not os.path.isfile(manifest) or file_sha256(manifest) != span.manifest_sha256:
            raise UsageError(f"{manifest}: is gone or changed since the run was planned; ingest the span again")
    return window


def refuse_golden_leaks(data: str, golden: int, numbers: list[int]) -> None:
    """No photo of the golden span, of either split, may train in the spans of a window, whatever name it has there.

    Args:
      data: the folder of spans.
      golden: the golden span.
      numbers: spans of the window.

    Raises:
      UsageError: if one does.
    """
    evaluated = _photos(data, golden, "train") | _photos(data, golden, "eval")
    for number in numbers:
        trained = _photos(data, number, "train")
        for sha256 in sorted(trained.keys() & evaluated.keys()):
            raise UsageError(
                f"photo {evaluated[sha256]} of span {golden} is training photo {trained[sha256]} of span {number}, so "
                f"the score would flatter; choose a golden span of other photos"
            )


def _refuse_leaks(data: str, numbers: list[int]) -> None:
    """No photo of the newest span's evaluation split may train in an older span, whatever name it has there."""
    evaluated = _photos(data, numbers[-1], "eval")
    for number in numbers[:-1]:
        trained = _photos(data, number, "train")
        for sha256 in sorted(trained.keys() & evaluated.keys()):
            raise UsageError(
                f"span {number}: training photo {trained[sha256]} is evaluation photo {evaluated[sha256]} of span "
                f"{numbers[-1]}, so the score would flatter; leave span {number} out of the window"
            )


def _photos(data: str, number: int, split: str) -> dict[str | None, str]:
    """SHA-256 -> file name of the ingested photos of a span's split."""
    sources = read_manifest(data, number).sources
    return {s.photo_sha256: s.photo for s in sources if s.split == split and s.verdict == "ingested"}
