"""A run that lost an example is refused; its model is neither pushed nor the baseline of the next run."""

import json
import os
import shutil

import pytest
import tensorflow as tf
from ml_metadata.metadata_store import metadata_store
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from workbench import NODES, Bench, drawn, executed

from pipeline.inventory import INVENTORY
from pipeline.records import newest_run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conservation")
    # Beam's runner of several processes has been seen to drop records.
    bench = Bench(folder, {"beam": {"nodes": dict.fromkeys(["ingest", "Transform"], {"direct_num_workers": 2})}})
    bench.ingest(drawn(folder / "drawn"))
    return bench


@pytest.fixture(scope="module")
def first(bench):
    """The record of a run that lost nothing."""
    return bench.run_here()


@pytest.fixture(scope="module")
def damaged(bench, first) -> str:
    """Transform's output folder, one training record short, as if Transform had lost it."""
    artifact = first.output("Transform", "transformed_examples")
    folder = artifact.uri
    (name,) = os.listdir(os.path.join(folder, "Split-train"))
    shard = os.path.join(folder, "Split-train", name)
    records = list(tf.data.TFRecordDataset(shard).as_numpy_iterator())
    with tf.io.TFRecordWriter(shard) as writer:
        for record in records[:-1]:
            writer.write(record)
    # With it, the next run would see that the file is not the one that Transform wrote.
    del artifact.custom_properties[INVENTORY]
    metadata_store.MetadataStore(sqlite_metadata_connection_config(str(bench.workspace / "metadata.db"))).put_artifacts(
        [artifact]
    )
    bench.sections |= {"training": {"steps": 5, "batch_size": 8, "evaluations": 1}}
    return folder


@pytest.fixture(scope="module")
def refused(bench, damaged):
    """What a new training on the damaged records printed, and the versions that were there before."""
    versions = bench.versions()
    return bench.segpipe("run", "--config", bench.config, status=3), versions


def baseline(bench) -> str:
    """URI of the model that the newest run compared with."""
    verdict = newest_run(str(bench.workspace / "metadata.db")).output("SegmentationEvaluator", "blessing")
    return verdict.custom_properties["baseline_model"].string_value


def test_a_run_on_two_processes_loses_nothing_and_its_counts_are_in_mlmd(first):
    assert (first.verdict, set(first.nodes)) == ("pushed", NODES)
    counts = json.loads(first.output("Conservation", "blessing").custom_properties["counts"].string_value)
    train, evaluated = (set(counts[split].values()) for split in ("train", "eval"))
    assert (len(train), len(evaluated), sum(train | evaluated)) == (1, 1, 32)
    assert set(counts["eval"]) - set(counts["train"]) == {"SegmentationEvaluator"}


def test_a_record_that_transform_lost_refuses_the_model_and_names_the_stage(bench, first, damaged, refused):
    done, versions = refused
    counts = json.loads(first.output("Conservation", "blessing").custom_properties["counts"].string_value)
    there = counts["train"]["manifest"]
    sentence = (
        f"Transform has {there - 1} train examples where SpanExampleGen has {there}; remove {damaged} and run again"
    )
    assert f"refused, nothing is pushed: {sentence}\n" in done.stderr
    assert bench.versions() == versions
    run = bench.status()["runs"][-1]
    assert (run["verdict"], run["reasons"], run["version"]) == ("refused", [sentence], None)
    assert {"Trainer", "SegmentationEvaluator", "Conservation"} <= executed(run)
    assert "AtomicPusher" not in run["nodes"]


def test_nobody_can_bless_it_by_hand(bench, refused):
    done = bench.segpipe("bless", "latest", "--reason", "it looks fine", status=3)
    assert "cannot be blessed, it lost examples on the way: Transform has" in done.stderr
    assert bench.versions() == refused[1]


def test_it_is_no_baseline_and_the_same_again_is_refused_again(bench, first, refused):
    run = bench.run(status=3)
    assert executed(run) <= {"LatestBlessedModel", "Conservation"}
    assert (run["verdict"], bench.versions()) == ("refused", refused[1])
    assert baseline(bench) == first.output("Trainer", "model").uri


def test_the_mend_of_the_message_mends_it(bench, first, damaged, refused):
    shutil.rmtree(damaged)
    run = bench.run_here()
    assert {name for name, node in run.nodes.items() if node.state != "cached"} >= {"Transform", "Trainer"}
    assert (run.verdict, len(bench.versions())) == ("pushed", len(refused[1]) + 1)
    assert baseline(bench) == first.output("Trainer", "model").uri
