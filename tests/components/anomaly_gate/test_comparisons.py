"""Which spans are compared with which, and that an accepted pair is compared no more."""

import os
from pathlib import Path

import pytest
from drawing import write_pets

from components.anomaly_gate.comparisons import (
    ACCEPTED,
    Acceptance,
    Acceptances,
    read_acceptances,
    read_comparisons,
    write_comparisons,
)
from components.errors import UsageError
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.ingest.spans import write_record
from trainer.features import FeatureSpec


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """Spans 1, 2, 4 and 11."""
    folder = tmp_path_factory.mktemp("comparisons")
    for number in (1, 2, 4, 11):
        stems = [f"pug_{10 * number + index}" for index in range(3)]
        source = write_pets(folder / f"source-{number}", stems[:2], stems[2:])
        lists = str(source / "annotations")
        folders = str(source / "images"), f"{lists}/trimaps"
        ingest(str(folder / "data"), *folders, FeatureSpec(), DataSettings(), lists, number)
    return str(folder / "data")


def compared(data: str, numbers: list[int], others: list[int] = (1, 2, 4, 11)) -> list[tuple[int, int]]:
    pairs = read_comparisons(write_comparisons(data, numbers, list(others)))
    return [(pair.span.number, pair.previous.number) for pair in pairs]


@pytest.mark.parametrize(
    "numbers, others, pairs",
    [
        ([1], (1, 2, 4, 11), []),
        ([2], (1, 2, 4, 11), [(2, 1)]),
        ([11], (1, 2, 4, 11), [(11, 4)]),
        ([11], (1, 2, 11), [(11, 2)]),
        ([11, 2, 4], (1, 2, 4, 11), [(2, 1), (4, 2), (11, 4)]),
        ([1, 2], (1, 2, 4, 11), [(2, 1)]),
    ],
    ids=["the first", "the second", "a gap", "the golden one is none of them", "a window", "a window from the start"],
)
def test_every_span_of_a_window_is_compared_with_the_one_before_it(data, numbers, others, pairs):
    assert compared(data, numbers, others) == pairs


def test_the_same_list_has_the_same_path_and_is_written_once(data):
    path = write_comparisons(data, [2, 4], [1, 2, 4, 11])
    written = os.stat(path).st_mtime_ns
    assert (write_comparisons(data, [4, 2], [11, 4, 2, 1]), os.stat(path).st_mtime_ns) == (path, written)
    assert write_comparisons(data, [4], [1, 2, 4, 11]) != path


def test_what_a_person_accepted_is_compared_no_more_and_the_rest_still_is(tmp_path, data):
    copy = tmp_path / "data"
    copy.mkdir()
    for number in (1, 2, 4):
        os.symlink(os.path.join(data, f"span-{number}"), copy / f"span-{number}")
    _, pair = read_comparisons(write_comparisons(str(copy), [2, 4], [1, 2, 4]))
    accepted = Acceptance(pair=pair, drifted=["span 4: brightness"], by="ana", at=17.0)
    write_record(str(copy / ACCEPTED), Acceptances(accepted=[accepted]))
    assert read_acceptances(str(copy)).accepted == [accepted]
    assert compared(str(copy), [2, 4], [1, 2, 4]) == [(2, 1)]
    # Another span under the number of an accepted one is another pair.
    assert compared(str(copy), [4], [1, 4]) == [(4, 1)]


def test_a_span_that_changed_since_it_was_planned_is_named(tmp_path, data):
    path = write_comparisons(data, [2], [1, 2])
    text = Path(path).read_text()
    sha256 = read_comparisons(path)[0].previous.manifest_sha256
    broken = tmp_path / "comparisons.json"
    broken.write_text(text.replace(sha256, "0" * 64))
    with pytest.raises(UsageError, match="span-1/manifest.json: is gone or changed since the run was planned"):
        read_comparisons(str(broken))
