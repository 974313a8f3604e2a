"""Spans of a manifest alone, which is all that planning a run reads."""

from pathlib import Path

from components.ingest.settings import settings_record
from components.ingest.spans import Manifest, Shard, SourceFile, span_folder, write_record
from pipeline.config import Config
from pipeline.workspace import Workspace


def write_span(
    workspace: Workspace, number: int, config: Config, photos: int = 100, sources: dict[str, str] | None = None
) -> None:
    """A span that was ingested under a config; a plan reads its manifest alone. `sources`: photo's hash -> split."""

    def shard(examples: int) -> Shard:
        return Shard(name="shard", examples=examples, bytes=1, sha256="0" * 64)

    folder = Path(span_folder(workspace.data, number))
    folder.mkdir(parents=True)
    manifest = Manifest(
        span=number,
        tool_version="1.0",
        settings=settings_record(config.data, config.features),
        splits={"train": [shard(photos)], "eval": [shard(5)]},
        photos_found=photos + 5,
        quarantined={},
        files_ignored=0,
        sources=[source(sha256, split) for sha256, split in (sources or {}).items()],
    )
    write_record(str(folder / "manifest.json"), manifest)


def source(sha256: str, split: str) -> SourceFile:
    return SourceFile(
        photo=f"{sha256}.jpg",
        mask=f"{sha256}.png",
        photo_sha256=sha256,
        mask_sha256=None,
        photo_bytes=1,
        mask_bytes=1,
        split=split,
        verdict="ingested",
    )
