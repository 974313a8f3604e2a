"""Which spans are held against which: an immutable list beside the windows, under the hash of its content.

Every span that a run trains on is compared with the one before it, so that what drifted in an older span of a window
does not slip in. A pair that a person accepted (`segpipe schema accept`) is compared no more.
"""

import json
import os

from components.content_path import write_by_content
from components.example_gen.window import WindowSpan, check_span, window_span
from components.ingest.spans import Record, read_record

ACCEPTED = "accepted_drift.json"


class Pair(Record):
    """A span and the one before it."""

    span: WindowSpan
    previous: WindowSpan

    @property
    def key(self) -> tuple[str, str]:
        """Names the content of both."""
        return self.span.manifest_sha256, self.previous.manifest_sha256


class Comparisons(Record):
    """Pairs, those of older spans first."""

    pairs: list[Pair]


class Acceptance(Record):
    """A pair whose drift a person (a login name) took for a legitimate change, when (seconds since 1970), and what
    drifted."""

    pair: Pair
    drifted: list[str]
    by: str
    at: float


class Acceptances(Record):
    """All of a workspace, oldest first."""

    accepted: list[Acceptance] = []


def write_comparisons(data: str, numbers: list[int], others: list[int]) -> str:
    """Writes which spans a run compares, if the same list is not there yet.

    Args:
      data: the folder of spans.
      numbers: the spans of the run's window.
      others: all spans that one of them may come after.

    Returns:
      The path of the list, the same for the same content.
    """
    accepted = {acceptance.pair.key for acceptance in read_acceptances(data).accepted}
    pairs = []
    for number in sorted(numbers):
        before = max((other for other in others if other < number), default=None)
        if before is not None:
            pair = Pair(span=window_span(data, number), previous=window_span(data, before))
            pairs += [pair] if pair.key not in accepted else []
    text = json.dumps(Comparisons(pairs=pairs).model_dump(), indent=1, sort_keys=True) + "\n"
    return write_by_content(os.path.join(data, "comparisons"), "comparisons.json", text)


def read_comparisons(path: str) -> list[Pair]:
    """Reads the pairs and holds their manifests against the recorded hashes.

    Raises:
      UsageError: if a span changed since the list was written.
    """
    pairs = [
        Pair(span=pair.span.seen_from(path), previous=pair.previous.seen_from(path))
        for pair in read_record(path, Comparisons).pairs
    ]
    for pair in pairs:
        check_span(pair.span)
        check_span(pair.previous)
    return pairs


def read_acceptances(data: str) -> Acceptances:
    """What was accepted so far."""
    path = os.path.join(data, ACCEPTED)
    return read_record(path, Acceptances) if os.path.isfile(path) else Acceptances()
