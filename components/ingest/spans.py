"""Spans on disk: `DATA/span-<N>/` with TFRecord shards, `manifest.json`, `quarantine.jsonl` and `duplicates.jsonl`.

A span appears by one rename and is never changed afterwards, so its manifest says what it holds for good.
"""

import hashlib
import json
import os
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass

from components.errors import UsageError

MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"
DUPLICATES = "duplicates.jsonl"
FORMAT = 1
_SPAN = re.compile(r"^span-(\d+)$")


class Record(BaseModel):
    """A record that is kept as JSON; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


RecordType = TypeVar("RecordType", bound=Record)


def write_record(path: str, record: Record, indent: int | None = 1) -> None:
    """Writes a record as JSON, keys sorted; file names that are no UTF-8 survive. Without indent it takes a tenth."""
    with open(path, "w", encoding="utf-8") as file:
        if indent is None:
            file.write(json.dumps(record, default=_fields, sort_keys=True))
        else:
            # Piece by piece: as one text, the manifest of many photos would take more memory than they do.
            json.dump(record, file, default=_fields, indent=indent, sort_keys=True)
        file.write("\n")


def _fields(record: Any) -> dict[str, Any]:
    """Of a model or of a dataclass with slots, by name; the encoder asks for what they hold in its turn."""
    return dict(record) if isinstance(record, BaseModel) else {name: getattr(record, name) for name in record.__slots__}


def read_record(path: str, kind: type[RecordType]) -> RecordType:
    """Reads what `write_record` wrote.

    Raises:
      ValueError: if the file is no such record.
    """
    with open(path, encoding="utf-8") as file:
        return kind.model_validate(json.load(file))


def file_size(path: str) -> int:
    """Bytes of a file; 0 for one that is gone and for a link that leads nowhere."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def file_sha256(path: str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class Shard(Record):
    """One TFRecord file of a span: its name, the number of records, its size in bytes and its SHA-256."""

    name: str
    examples: int
    bytes: int
    sha256: str


# With slots it takes a third of the memory of a `Record`, and a manifest holds one of each photo.
@dataclass(slots=True, config=ConfigDict(extra="forbid"))
class SourceFile:
    """One photo that was found: where it came from and what became of it.

    Attributes:
      photo, mask: file names; `mask` is None for a photo without one.
      photo_sha256, mask_sha256: of the source files' bytes; None where the file was not opened.
      split: train or eval; None if it was quarantined before it got one.
      verdict: `ingested`, or the reason of its quarantine.
      perceptual_hash: see `duplicates.perceptual_hash`; None where the photo was not ingested or has one colour.
    """

    photo: str
    mask: str | None
    photo_sha256: str | None
    mask_sha256: str | None
    photo_bytes: int
    mask_bytes: int
    split: str | None
    verdict: str
    # Spans of before this field read on.
    perceptual_hash: str | None = None


class Manifest(Record):
    """What a span holds, where it came from and what was left out.

    `duplicates` counts the evaluation photos that train too, as `same_file` and `near_duplicate`.
    """

    format: int = FORMAT
    span: int
    tool_version: str
    settings: dict[str, Any]
    splits: dict[str, list[Shard]]
    photos_found: int
    quarantined: dict[str, int]
    files_ignored: int
    sources: list[SourceFile]
    duplicates: dict[str, int] = {}

    def examples(self, split: str) -> int:
        """Number of records in a split."""
        return sum(shard.examples for shard in self.splits[split])

    @property
    def ingested(self) -> int:
        return sum(map(self.examples, self.splits))

    def ingested_sources(self, split: str) -> list[SourceFile]:
        """The photos that a split holds."""
        return [s for s in self.sources if s.split == split and s.verdict == "ingested"]


def span_folder(data: str, number: int) -> str:
    """The folder of span `number`."""
    return os.path.join(data, f"span-{number}")


def list_spans(data: str) -> list[int]:
    """Numbers of the spans that exist, ascending."""
    if not os.path.isdir(data):
        return []
    return sorted(int(match[1]) for name in os.listdir(data) if (match := _SPAN.match(name)))


def read_manifest(data: str, number: int) -> Manifest:
    """Reads the manifest of a span.

    Raises:
      UsageError: if the span does not exist or its manifest is damaged.
    """
    path = os.path.join(span_folder(data, number), MANIFEST)
    if not os.path.isfile(path):
        have = ", ".join(map(str, list_spans(data))) or "none"
        raise UsageError(
            f"span {number}: not in {data} (spans there: {have}); run segpipe ingest --span {number} first"
        )
    try:
        return read_record(path, Manifest)
    except ValueError as error:
        raise UsageError(f"{path}: is no manifest that this version reads; ingest the span again") from error
