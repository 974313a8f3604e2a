"""The words of the page: the verdict first, what is not known is said, and nothing in it is taken for HTML."""

import re

import pytest
from facts_of_a_run import facts, summary

from components.run_report.page import render, verdict_title


def text_of(page: str) -> str:
    """What a person reads: no style, no tags, white space as one blank."""
    body = page.partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize(
    "verdict, title",
    [
        ("pushed", "Pushed as version 17"),
        ("unchanged", "Nothing new: version 17 stays live"),
        ("blessed", "Pushed by hand as version 17"),
        ("refused", "Refused: nothing was pushed"),
        ("failed", "Failed in Trainer"),
        ("interrupted", "Interrupted before its end"),
        ("running", "Still running"),
        ("tuned", "Search finished"),
    ],
)
def test_the_verdict_is_the_heading(verdict, title):
    nodes = {"Trainer": {"state": "failed", "seconds": 1.0}} if verdict == "failed" else {}
    told = facts(verdict, nodes=nodes)
    assert verdict_title(told) == title
    assert f"<h1>{title}</h1>" in render(told, {}, None)


def test_the_lead_says_the_score_its_interval_and_what_it_was_compared_with():
    text = text_of(render(facts(), {}, None))
    assert "Mean IoU is 0.610 ± 0.020 on 178 evaluation photos." in text
    assert "The blessed model it was compared with (version 16, run r1) has 0.600 on the same." in text
    assert "+0.010" in text


def test_without_a_blessed_model_the_page_says_so():
    text = text_of(render(facts(evaluation=summary(baseline=None)), {}, None))
    assert "There was no blessed model to compare with, so the value thresholds alone decided." in text


def test_a_lost_baseline_is_told():
    lost = "the baseline at m is gone, so nothing was compared and only the value thresholds decided"
    text = text_of(render(facts(evaluation=summary(baseline=None, lost_baseline=lost)), {}, None))
    assert "The baseline at m is gone, so nothing was compared" in text


def test_every_reason_of_a_refusal_is_listed_above_the_scores():
    page = render(facts("refused", reasons=["mean_iou is low", "iou/pet is low"]), {}, None)
    assert page.index("<h1>") < page.index("mean_iou is low") < page.index("iou/pet is low") < page.index("<h2>Scores")


def test_what_the_gate_looked_at_shows_passed_and_missed_bounds():
    page = text_of(render(facts(), {}, None))
    assert "Mean IoU gate.min_mean_iou 0.610 0.500 yes" in page
    assert "Mean IoU against the blessed model gate.max_drop +0.010 −0.020 yes" in page
    page = text_of(render(facts(evaluation=summary(slices=300)), {}, None))
    assert "Mean IoU of breed=b299, the worst of 300 gate.min_slice_mean_iou.breed 0.302 0.500 no" in page


def test_of_many_slices_the_worst_and_the_best_are_shown_and_the_rest_is_counted():
    page = text_of(render(facts(evaluation=summary(slices=300)), {}, None))
    shown = [name for name in (f"b{number:03d}" for number in range(300)) if f" {name} 3 " in page]
    assert shown == [f"b{n:03d}" for n in (*range(20), *range(280, 300))]
    assert page.index(" b299 3 ") < page.index(" b280 3 ") < page.index(" b000 3 "), "the worst come first"
    assert "260 between these are in report.json." in page


def test_a_run_without_any_record_of_its_own_still_has_a_page():
    bare = facts("failed", nodes={"SpanExampleGen": {"state": "failed", "seconds": 0.1}}, error="OSError: boom")
    for key in ("metrics", "baseline", "slices", "intervals", "slice_intervals", "evaluation", "baseline_model"):
        bare[key] = None
    text = text_of(render(bare | {"history": [], "setup": None, "classes": []}, {}, None))
    assert "Failed in SpanExampleGen No model was evaluated." in text
    assert "The run did not get to its data." in text
    assert "kept no setup" in text


def test_what_people_did_by_hand_is_told_with_who_and_why():
    blessing = {"by": "ana", "at": 1.79e9, "reason": "masks checked by eye", "version": 17}
    rollback = {"by": "ben", "at": 1.79e9, "reason": "worse at night", "left": 17, "returned_to": 16, "version": 18}
    text = text_of(render(facts("blessed", blessing=blessing, rollback=rollback), {}, None))
    assert "Blessed by hand by ana on 21 September 2026, 14:13 UTC: masks checked by eye" in text
    assert (
        "Rolled back by ben on 21 September 2026, 14:13 UTC, from version 17 to 16, live as 18: worse at night" in text
    )


HOSTILE = '"><script>alert(1)</script>'


def test_names_and_messages_are_text_and_never_html():
    told = facts("refused", reasons=[HOSTILE], error=HOSTILE)
    told["data"]["window"] = {
        "spans": [{"span": 1, "manifest_sha256": HOSTILE, "gone": False}],
        "found": 2,
        "ingested": {"train": 1, "eval": 0},
        "quarantined": {HOSTILE: 1},
        "quarantined_files": [{"file": HOSTILE, "reason": HOSTILE, "detail": HOSTILE}],
        "formats": {HOSTILE: 2},
    }
    told["model_card"]["limits"] = told["setup"]["config"]["pipeline_name"] = HOSTILE
    strip = {
        "photo": HOSTILE,
        "mean_iou": 0.2,
        "iou": {"pet": None},
        "width": 1,
        "height": 1,
        "pictures": [HOSTILE] * 3,
    }
    page = render(told, {"worst": [strip], "median": [], "best": []}, HOSTILE)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_the_page_asks_nothing_of_the_network():
    page = render(facts(), {}, None)
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    assert not re.findall(r"url\(|@import|<script|<link(?! rel=\"icon\" href=\"data:)", page)
