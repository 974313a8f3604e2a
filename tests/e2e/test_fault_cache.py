"""A cached artifact that was damaged is noticed, told and made again, with all that depends on it and nothing else; on
both engines, and where `tfx` starts the run.
"""

import os
from pathlib import Path

import pytest
from workbench import COMPARES, NODES, Bench, drawn

from pipeline.records import list_runs, newest_run

pytestmark = pytest.mark.e2e

_AFTER_MODEL = {"ModelCanary", "SegmentationEvaluator", "Conservation", "AtomicPusher"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory, warm):
    bench = Bench(tmp_path_factory.mktemp("cache"))
    bench.ingest(drawn(bench.folder / "drawn"))
    warm.run(bench)
    return bench


def _newest(bench):
    return newest_run(str(bench.workspace / "metadata.db"))


def _executed(run) -> set[str]:
    return {name for name, node in run.nodes.items() if node.state != "cached"} - {"LatestBlessedModel"}


def _folder(bench, node: str, key: str) -> Path:
    return Path(_newest(bench).output(node, key).uri)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_a_model_file_cut_short_is_trained_again(warm, bench):
    damaged = _folder(bench, "Trainer", "model")
    shard = next(damaged.glob("Format-Serving/variables/*.data-*"))
    _cut(shard)
    process = warm.run(bench)
    assert f"{shard} has " in process.stderr and "the Model that it belongs to is made again" in process.stderr
    run = _newest(bench)
    assert _executed(run) == {"Trainer"} | _AFTER_MODEL
    assert run.verdict == "pushed" and _folder(bench, "Trainer", "model") != damaged
    # It was the baseline, too, and cannot be compared with any more.
    assert "is gone" in run.summary["lost_baseline"]


def test_a_record_file_cut_short_is_transformed_again_on_beam(warm, bench):
    damaged = _folder(bench, "Transform", "transformed_examples")
    (shard,) = damaged.glob("Split-train/*")
    _cut(shard)
    process = warm.run(bench, "--engine", "beam")
    assert f"{shard} has " in process.stderr
    run = _newest(bench)
    assert {"Transform", "Trainer"} <= _executed(run) <= {"Transform", "Trainer"} | _AFTER_MODEL
    assert run.verdict == "pushed" and _folder(bench, "Transform", "transformed_examples") != damaged


def test_a_file_that_is_gone_is_made_again_where_tfx_starts_the_run(warm, bench):
    (shard,) = _folder(bench, "SpanExampleGen", "examples").glob("Split-eval/*")
    shard.unlink()
    process = warm.local_runner(bench)
    assert process.wait() == 0, process.stderr
    assert f"{shard} is gone; the Examples that it belongs to is made again" in process.stderr
    assert _executed(_newest(bench)) >= NODES - {"ImportSchemaGen", "LatestBlessedModel"}


def test_a_served_model_that_was_damaged_is_pushed_again_as_a_new_version(warm, bench):
    live = _newest(bench).version
    shard = next((bench.serving / str(live)).glob("variables/*.data-*"))
    _cut(shard)
    process = warm.run(bench)
    assert (
        f"{bench.serving}/{live} is not the model that was pushed any more; its model is pushed again" in process.stderr
    )
    run = _newest(bench)
    assert (run.verdict, run.version > live) == ("pushed", True)
    assert _executed(run) <= COMPARES
    whole = next(_folder(bench, "Trainer", "model").glob(f"Format-Serving/variables/{shard.name}"))
    assert (bench.serving / str(run.version) / "variables" / shard.name).read_bytes() == whole.read_bytes()


def test_what_was_not_damaged_stays_cached(warm, bench):
    # Once more for what compares with the new baseline.
    warm.run(bench)
    warm.run(bench)
    run = _newest(bench)
    assert (run.verdict, _executed(run)) == ("unchanged", set())
    assert len(list_runs(str(bench.workspace / "metadata.db"))) == 7
