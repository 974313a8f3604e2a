"""Numbers as people read them."""

import pytest

from components.run_report.words import duration_text, score_text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.04, "0.0 s"), (8.34, "8.3 s"), (59.96, "1 min 0 s"), (243, "4 min 3 s"), (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"), (7530, "2 h 5 min"),
    ],
)  # fmt: skip
def test_a_duration_is_told_to_what_matters_of_it(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "value, half, text", [(0.61, None, "0.610"), (0.61, 0.0134, "0.610 ± 0.013"), (None, 0.1, "-"), (None, None, "-")]
)
def test_a_score_has_its_interval_where_there_is_one(value, half, text):
    assert score_text(value, half) == text
