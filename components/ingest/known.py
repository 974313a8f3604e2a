"""Tells what of a folder is not in a span already, whatever its files are called now."""

import contextlib
import hashlib
import json
import os
from collections import defaultdict

from components.ingest.opening import Unreadable, file_bytes
from components.ingest.sources import Pair, Sources
from components.ingest.spans import SourceFile, file_size, list_spans, read_manifest


def spans_that_hold(data: str, pairs: list[Pair], settings: dict) -> list[int]:
    """The spans that hold all of the pairs between them, each with its mask and in its split.

    Args:
      data: the folder of spans.
      pairs: of a folder of photos.
      settings: the `settings_record` of today; a span of other settings holds other examples.

    Returns:
      Ascending numbers; none if a pair is new, or if there is no pair.
    """
    known = _sources_by_size(data, settings)
    # A pair of new sizes is new, which costs no reading; most folders with something new show it so.
    if not all(_of_its_size(pair, known) for pair in pairs):
        return []
    holding = set()
    for pair in pairs:
        span = _span_of(pair, known)
        if span is None:
            return []
        holding.add(span)
    return sorted(holding)


def without_known(data: str, sources: Sources, settings: dict) -> tuple[Sources, list[int]]:
    """Leaves out what earlier spans hold: pairs, and photos that one of them refused for the same reason.

    Args:
      data: the folder of spans.
      sources: what a folder of photos holds.
      settings: see `spans_that_hold`.

    Returns:
      The sources that are new, and the spans that hold the others, ascending.
    """
    known = _sources_by_size(data, settings)
    spans = [_span_of(pair, known) for pair in sources.pairs]
    refused = {
        (source.photo, source.photo_bytes, source.verdict): number
        for candidates in known.values()
        for number, source in candidates
        if source.mask is None
    }
    told = [refused.get((os.path.basename(q.file), file_size(q.file), q.reason)) for q in sources.quarantined]
    held = [number for number in spans + told if number is not None]
    new = Sources(
        pairs=[pair for pair, number in zip(sources.pairs, spans, strict=True) if number is None],
        quarantined=[q for q, number in zip(sources.quarantined, told, strict=True) if number is None],
        photos_found=sources.photos_found - len(held),
        files_ignored=sources.files_ignored,
    )
    return new, sorted(set(held))


_Known = dict[tuple, list[tuple[int, SourceFile]]]
"""Span and source file by split and sizes of photo and mask."""


def _sources_by_size(data: str, settings: dict) -> _Known:
    by_size: _Known = defaultdict(list)
    for number in list_spans(data):
        manifest = read_manifest(data, number)
        if manifest.settings == json.loads(json.dumps(settings)):
            for source in manifest.sources:
                by_size[source.split, source.photo_bytes, source.mask_bytes].append((number, source))
    return by_size


def _of_its_size(pair: Pair, known: _Known) -> list[tuple[int, SourceFile]]:
    return known.get((pair.split, file_size(pair.photo), file_size(pair.mask)), [])


def _span_of(pair: Pair, known: _Known) -> int | None:
    """The newest span that holds a pair; a pair whose sizes are new is not read."""
    candidates = _of_its_size(pair, known)
    hashes = contents(pair) if candidates else None
    holding = [number for number, source in candidates if [source.photo_sha256, source.mask_sha256] == hashes]
    return holding[-1] if holding else None


def contents(pair: Pair) -> list[str | None]:
    """SHA-256 of photo and mask as `ShardWriter` records them: None for what it cannot read, and for the mask after."""
    hashes = [None, None]
    with contextlib.suppress(Unreadable):
        for index, (path, what) in enumerate(((pair.photo, "photo"), (pair.mask, "mask"))):
            hashes[index] = hashlib.sha256(file_bytes(path, what)).hexdigest()
    return hashes
