"""Makes one span out of a folder of photos and a folder of masks, at once and whole or not at all."""

import glob
import json
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version

from components.errors import RefusedError, UsageError
from components.ingest.duplicates import Duplicate, find_duplicates
from components.ingest.known import contents, spans_that_hold, without_known
from components.ingest.settings import DataSettings, settings_record
from components.ingest.shards import ShardResult, plan_shards
from components.ingest.sources import SPLITS, Pair, Quarantined, Sources, find_sources
from components.ingest.spans import (
    DUPLICATES,
    MANIFEST,
    QUARANTINE,
    Manifest,
    Record,
    SourceFile,
    file_size,
    list_spans,
    read_manifest,
    span_folder,
    write_record,
)
from components.ingest.workers import write_shards
from trainer.features import FeatureSpec


@dataclass(frozen=True)
class Outcome:
    """What `ingest` did.

    Attributes:
      manifest, folder: of the span that was written, or is there from before.
      written: whether it was written just now.
      held: the spans that hold all pairs between them, where nothing was written and no span was made of just these.
      left_out: the photos that no pair was made of, where nothing was written for that.
    """

    manifest: Manifest
    folder: str
    written: bool
    held: list[int] = field(default_factory=list)
    left_out: list[Quarantined] = field(default_factory=list)


def ingest(
    data: str,
    photos: str,
    masks: str,
    spec: FeatureSpec,
    settings: DataSettings,
    split_lists: str | None = None,
    number: int | None = None,
    beam_args: list[str] | None = None,
    only_new: bool = False,
) -> Outcome:
    """Ingests photos and masks into a span.

    The same input is found again by its content and rewrites nothing.

    Args:
      data: the folder of spans; it is made where it is missing.
      photos, masks, split_lists: see `find_sources`.
      spec: classes and the mask values that may occur.
      settings: slice keys, limits and the largest shares of quarantined photos and of duplicates.
      number: the span to make; None takes the next free number.
      beam_args: see `write_shards`.
      only_new: leave out what earlier spans hold, which a folder that grows still has.

    The caller holds the workspace's lock: what a killed ingest left behind is removed.

    Raises:
      UsageError: if a path is wrong or the span exists with other input.
      RefusedError: if too many photos are quarantined, a split is empty or too many evaluation photos train too; no
        span is written.
    """
    sources = find_sources(photos, masks, split_lists, settings.eval_share)
    record = settings_record(settings, spec)
    if only_new:
        new, held = without_known(data, sources, record)
        if held and not new.pairs:
            left_out = [entry for entry in new.quarantined if entry.kind == "photo"]
            return Outcome(read_manifest(data, held[-1]), span_folder(data, held[-1]), False, held, left_out)
        sources = new
    known = _same_input(data, sources, record, list_spans(data) if number is None else [number])
    if known is not None:
        return Outcome(read_manifest(data, known), span_folder(data, known), written=False)
    held = spans_that_hold(data, sources.pairs, record) if number is None else []
    if held:
        left_out = [entry for entry in sources.quarantined if entry.kind == "photo"]
        return Outcome(read_manifest(data, held[-1]), span_folder(data, held[-1]), False, held, left_out)
    if number is None:
        number = max(list_spans(data), default=0) + 1
    elif number in list_spans(data):
        raise UsageError(f"--span {number}: exists with other input and spans never change; choose another number")
    os.makedirs(data, exist_ok=True)
    for left_over in glob.glob(os.path.join(glob.escape(data), ".span-*")):
        shutil.rmtree(left_over)
    folder = tempfile.mkdtemp(prefix=f".span-{number}-", dir=data)
    try:
        results = write_shards(plan_shards(sources.pairs, folder), spec, settings, beam_args)
        quarantined = sources.quarantined + [q for result in results for q in result.quarantined]
        manifest = _manifest(number, sources, results, quarantined, record)
        evaluation, training = manifest.ingested_sources("eval"), manifest.ingested_sources("train")
        duplicates = find_duplicates(evaluation, training, settings.duplicate_distance)
        counts = Counter("same_file" if found.same_file else "near_duplicate" for found in duplicates)
        manifest = manifest.model_copy(update={"duplicates": dict(sorted(counts.items()))})
        write_record(os.path.join(folder, MANIFEST), manifest)
        quarantined = [q.model_copy(update={"file": os.path.basename(q.file)}) for q in quarantined]
        _write_lines(os.path.join(folder, QUARANTINE), sorted(quarantined, key=lambda q: (q.file, q.reason)))
        _write_lines(os.path.join(folder, DUPLICATES), duplicates)
        _refuse_quarantine(manifest, settings, folder, data)
        _refuse_empty_split(manifest)
        _refuse_duplicates(manifest, duplicates, settings, folder, data)
        os.chmod(folder, 0o755)
        os.rename(folder, span_folder(data, number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(manifest, span_folder(data, number), written=True)


def _same_input(data: str, sources: Sources, settings: dict, candidates: list[int]) -> int | None:
    """The newest of the candidate spans that was made from just these files under the same settings."""
    here = {os.path.basename(p.photo): p for p in sources.pairs}
    unpaired = {os.path.basename(q.file): q.reason for q in sources.quarantined if q.kind == "photo"}
    for candidate in sorted(set(candidates) & set(list_spans(data)), reverse=True):
        manifest = read_manifest(data, candidate)
        paired = {source.photo: source for source in manifest.sources if source.mask is not None}
        if (
            manifest.settings == json.loads(json.dumps(settings))
            and {s.photo: s.verdict for s in manifest.sources if s.mask is None} == unpaired
            and paired.keys() == here.keys()
            and all(_same_pair(here[name], source) for name, source in paired.items())
        ):
            return candidate
    return None


def _same_pair(pair: Pair, source: SourceFile) -> bool:
    # Sizes differ far more often than contents of one size do, and cost no reading.
    return (
        pair.split == source.split
        and file_size(pair.photo) == source.photo_bytes
        and file_size(pair.mask) == source.mask_bytes
        and contents(pair) == [source.photo_sha256, source.mask_sha256]
    )


def _manifest(
    number: int, sources: Sources, results: list[ShardResult], quarantined: list[Quarantined], settings: dict
) -> Manifest:
    refused_early = [
        SourceFile(
            photo=os.path.basename(q.file),
            mask=None,
            photo_sha256=None,
            mask_sha256=None,
            photo_bytes=file_size(q.file),
            mask_bytes=0,
            split=None,
            verdict=q.reason,
        )
        for q in sources.quarantined
        if q.kind == "photo"
    ]
    opened = [source for result in results for source in result.sources]
    return Manifest(
        span=number,
        tool_version=version("segpipe"),
        settings=settings,
        splits={split: [r.shard for r in results if r.split == split] for split in SPLITS},
        photos_found=sources.photos_found,
        quarantined=dict(sorted(Counter(q.reason for q in quarantined if q.kind == "photo").items())),
        files_ignored=sources.files_ignored,
        sources=sorted(opened + refused_early, key=lambda source: source.photo),
    )


def _write_lines(path: str, records: list[Record]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record.model_dump(), sort_keys=True) + "\n")


def _kept(name: str, folder: str, data: str) -> str:
    """Saves what the user needs to mend the input from the span that is not made; returns where it is."""
    return shutil.copyfile(os.path.join(folder, name), os.path.join(data, name))


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _refuse_quarantine(manifest: Manifest, settings: DataSettings, folder: str, data: str) -> None:
    refused, found = sum(manifest.quarantined.values()), manifest.photos_found
    if refused > settings.max_quarantine * found:
        raise RefusedError(
            f"{refused} of {found} photos are quarantined ({_counted(manifest.quarantined)}), more than the allowed "
            f"share {settings.max_quarantine:g}; mend the files that {_kept(QUARANTINE, folder, data)} names or raise "
            f"--max-quarantine"
        )
    if refused == found:
        raise RefusedError(
            f"none of {found} photos can be used ({_counted(manifest.quarantined)}); mend the files that "
            f"{_kept(QUARANTINE, folder, data)} names"
        )


def _refuse_empty_split(manifest: Manifest) -> None:
    for split in SPLITS:
        if not manifest.examples(split):
            raise RefusedError(f"the {split} split is empty; add photos to it or change data.eval_share")


def _refuse_duplicates(
    manifest: Manifest, duplicates: list[Duplicate], settings: DataSettings, folder: str, data: str
) -> None:
    if len(duplicates) > settings.max_duplicates * manifest.examples("eval"):
        first = duplicates[0]
        raise RefusedError(
            f"{len(duplicates)} of {manifest.examples('eval')} evaluation photos also train "
            f"({_counted(manifest.duplicates)}; {first.photo} is {first.training_photo}), more than the allowed share "
            f"{settings.max_duplicates:g}, so the score would flatter; take the photos that "
            f"{_kept(DUPLICATES, folder, data)} names out of one split or raise --max-duplicates"
        )
