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
    """One span of a window: its folder and the SHA-256 of its manifest.

    A folder that is not absolute is counted from that of the file it stands in, so that the file reads where a root is
    mounted elsewhere.
    """

    number: int
    folder: str
    manifest_sha256: str

    def seen_from(self, path: str) -> "WindowSpan":
        """The span as one reads it who found it in the file `path`."""
        folder = os.path.normpath(os.path.join(os.path.dirname(path), self.folder))
        return self.model_copy(update={"folder": folder})


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
    *older, newest = sorted(numbers)
    refuse_leaks(data, newest, ("eval",), older, "leave that span out of the window")
    spans = [window_span(data, number) for number in sorted(numbers)]
    text = json.dumps(Window(spans=spans).model_dump(), indent=1, sort_keys=True) + "\n"
    return write_by_content(os.path.join(data, "windows"), "window.json", text)


def window_span(data: str, number: int) -> WindowSpan:
    """A span as it is now.

    Raises:
      UsageError: if it does not exist.
    """
    read_manifest(data, number)
    folder = os.path.abspath(span_folder(data, number))
    digest = file_sha256(os.path.join(folder, MANIFEST))
    return WindowSpan(number=number, folder=folder, manifest_sha256=digest)


def read_window(path: str) -> Window:
    """Reads a window and holds its spans' manifests against the recorded hashes.

    Raises:
      UsageError: if a span changed since the window was written.
    """
    window = Window(spans=[span.seen_from(path) for span in read_record(path, Window).spans])
    for span in window.spans:
        check_span(span)
    return window


def check_span(span: WindowSpan) -> None:
    """Holds a span's manifest against the recorded hash.

    Raises:
      UsageError: if it is gone or another one.
    """
    manifest = os.path.join(span.folder, MANIFEST)
    if not os.path.isfile(manifest) or file_sha256(manifest) != span.manifest_sha256:
        raise UsageError(f"{manifest}: is gone or changed since the run was planned; ingest the span again")


def refuse_leaks(data: str, evaluated: int, splits: tuple[str, ...], trained: list[int], mend: str) -> None:
    """Sees to it that no photo which evaluates trains in another span, whatever name it has there.

    Args:
      data: the folder of spans.
      evaluated: the span that evaluates.
      splits: those of its splits that do.
      trained: spans whose training splits a model learns from.
      mend: what the user can do about it, for the message.

    Raises:
      UsageError: if there is such a photo.
    """
    evaluating = {sha256: photo for split in splits for sha256, photo in _photos(data, evaluated, split).items()}
    for number in trained:
        training = _photos(data, number, "train")
        for sha256 in sorted(training.keys() & evaluating.keys()):
            raise UsageError(
                f"span {number}: training photo {training[sha256]} is evaluation photo {evaluating[sha256]} of span "
                f"{evaluated}, so the score would flatter; {mend}"
            )


def _photos(data: str, number: int, split: str) -> dict[str, str]:
    """SHA-256 -> file name of the ingested photos of a span's split."""
    sources = read_manifest(data, number).sources
    return {s.photo_sha256: s.photo for s in sources if s.split == split and s.verdict == "ingested"}
