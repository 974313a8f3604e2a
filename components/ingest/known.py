"""Tells whether a folder holds anything that is not in a span already, whatever its files are called now."""

import contextlib
import hashlib
import json
from collections import defaultdict

from components.ingest.reader import Unreadable, file_bytes
from components.ingest.sources import Pair
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
    by_size: dict[tuple, list[tuple[int, SourceFile]]] = defaultdict(list)
    for number in list_spans(data):
        manifest = read_manifest(data, number)
        if manifest.settings == json.loads(json.dumps(settings)):
            for source in manifest.sources:
                by_size[source.split, source.photo_bytes, source.mask_bytes].append((number, source))
    # A pair of new sizes is new, which costs no reading; most folders with something new show it so.
    candidates = [by_size.get((pair.split, file_size(pair.photo), file_size(pair.mask)), []) for pair in pairs]
    if not all(candidates):
        return []
    holding = set()
    for pair, known in zip(pairs, candidates, strict=True):
        hashes = contents(pair)
        here = [number for number, source in known if [source.photo_sha256, source.mask_sha256] == hashes]
        if not here:
            return []
        holding.add(here[-1])
    return sorted(holding)


def contents(pair: Pair) -> list[str | None]:
    """SHA-256 of photo and mask as `WriteShard` records them: None for what it cannot read, and for the mask after."""
    hashes = [None, None]
    with contextlib.suppress(Unreadable):
        for index, (path, what) in enumerate(((pair.photo, "photo"), (pair.mask, "mask"))):
            hashes[index] = hashlib.sha256(file_bytes(path, what)).hexdigest()
    return hashes
