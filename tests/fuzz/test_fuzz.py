"""A bounded fuzz of the file reader and the config loader, and every input that ever failed. By hand: see run.py."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings

sys.path.insert(0, str(Path(__file__).parent))

from targets import CHECKS, MASKS, PHOTOS, check_pair, inputs, quiet

REGRESSIONS = sorted((Path(__file__).parent / "regressions").iterdir())
pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_the_fuzzer_starts_from_is_read():
    # Damage to files that are refused as they are would find nothing.
    assert {check_pair(photo, MASKS[0]) for photo in PHOTOS} == {"read"}
    assert {check_pair(PHOTOS[0], mask) for mask in MASKS} == {"read"}


@pytest.mark.parametrize("path", REGRESSIONS, ids=[path.name for path in REGRESSIONS])
def test_an_input_that_once_failed_does_so_no_more(path):
    CHECKS[path.suffix[1:]](path.read_bytes())


@pytest.mark.parametrize("kind, examples", [("pair", 3000), ("config", 1000)])
def test_only_the_errors_of_the_house_leave(kind, examples):
    outcomes = set()

    # One seed: a red run is the same red for everybody; new ground is what run.py is for.
    @seed(17)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(content=inputs(kind))
    def attempt(content: bytes) -> None:
        outcomes.add(CHECKS[kind](content))

    with quiet():
        attempt()
    assert len(outcomes) > 1, "both what is taken and what is refused was tried"
