"""When the next tick is, and which expressions are none."""

import time
from datetime import datetime

import pytest

from components.errors import UsageError
from pipeline.cron import check_cron, next_tick


@pytest.fixture
def zone(monkeypatch):
    def choose(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "cron, after, expected",
    [
        ("0 3 * * 1", "2026-11-25 12:00", "2026-11-30 03:00"),
        ("0 3 * * 1", "2026-11-30 03:00", "2026-12-07 03:00"),
        ("*/15 * * * *", "2026-11-25 12:14", "2026-11-25 12:15"),
        ("@weekly", "2026-11-25 12:00", "2026-11-29 00:00"),
        # Summer time ends at 3:00, which is 2:00 again, and begins at 2:00, which is 3:00.
        ("0 3 * * *", "2026-10-24 12:00", "2026-10-25 03:00"),
        ("30 4 * * *", "2026-03-28 12:00", "2026-03-29 04:30"),
    ],
)
def test_a_tick_is_on_the_clock_of_the_machine(zone, cron, after, expected):
    zone("Europe/Berlin")
    moment = next_tick(check_cron(cron), datetime.fromisoformat(after).timestamp())
    assert datetime.fromtimestamp(moment) == datetime.fromisoformat(expected)


def test_the_next_tick_is_always_later_also_in_the_hour_that_comes_twice(zone):
    zone("Europe/Berlin")
    moment = datetime.fromisoformat("2026-10-25 00:00").timestamp()
    for _ in range(30):
        moment, before = next_tick("15 * * * *", moment), moment
        assert before < moment <= before + 2 * 3600


@pytest.mark.parametrize("cron", ["", "monday", "0 3 * *", "61 3 * * 1", "0 3 * * 1 0", "@sometimes", "0 0 30 2 *"])
def test_what_is_no_expression_or_never_comes_is_one_sentence(cron):
    with pytest.raises(UsageError, match="--cron .*; give ") as error:
        check_cron(cron)
    assert "\n" not in str(error.value)
