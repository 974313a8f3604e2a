"""What a component did, in a few words."""

import json

import pytest
from stored_runs import Store

from pipeline.did import what_it_did
from pipeline.records import newest_run


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def did(store: Store, name: str) -> str:
    return what_it_did(newest_run(store.path), name)


def test_the_trainer_tells_its_steps(store):
    (store.folder / "learning_curve.json").write_text(json.dumps({"steps": 1014}))
    store.node("r", "Trainer", "COMPLETE", model_run={"uri": str(store.folder)})
    assert did(store, "Trainer") == "1,014 steps"


def test_the_validator_counts_anomalies(store):
    store.node("r", "ExampleValidator", "COMPLETE", anomalies={"uri": store.anomalies("train", "breed", "new")})
    assert did(store, "ExampleValidator") == "1 anomaly"


def test_the_canary_tells_time_and_memory(store):
    store.node("r", "ModelCanary", "COMPLETE", blessing={"latency_ms": 14.4, "memory_mb": 612.3})
    assert did(store, "ModelCanary") == "14 ms an answer, 612 MB"


@pytest.mark.parametrize(
    "half, text", [(0.0131, "178 photos, mean IoU 0.610 ± 0.013"), (None, "178 photos, mean IoU 0.610")]
)
def test_the_evaluator_tells_photos_and_score(store, half, text):
    summary = {"metrics": {"mean_iou": 0.61, "photos": 178.0}, "intervals": {"mean_iou": half}}
    store.node("r", "SegmentationEvaluator", "COMPLETE", evaluation={"summary": json.dumps(summary)})
    assert did(store, "SegmentationEvaluator") == text


@pytest.mark.parametrize("pushed, text", [(1, "version 17"), (0, "nothing pushed")])
def test_the_pusher_tells_the_version(store, pushed, text):
    store.node("r", "AtomicPusher", "COMPLETE", pushed_model={"pushed": pushed, "pushed_version": "17"})
    assert did(store, "AtomicPusher") == text


def test_of_others_and_of_those_that_left_no_record_there_is_nothing_to_tell(store):
    store.node("r", "ImportSchemaGen", "COMPLETE")
    assert did(store, "ImportSchemaGen") == did(store, "Trainer") == ""
