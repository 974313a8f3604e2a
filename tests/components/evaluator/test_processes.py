"""Who evaluates: one process, or several where there are many photos and nobody has said how many."""

import pytest
from tfx.types import standard_artifacts

from components.evaluator import processes
from components.evaluator.processes import in_useful_processes, most_answers

BEAMS_OWN = ["--runner=DirectRunner", "--sdk_container_image=none"]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr("components.machine.usable_cores", lambda: 8)
    monkeypatch.setattr("components.machine.free_memory", lambda: 9 << 30)


@pytest.mark.parametrize(("answers", "number"), [(2_999, 1), (3_000, 2), (4_500, 3), (1_000_000, 6)])
def test_many_photos_take_as_many_processes_as_they_are_worth(answers, number):
    several = ["--direct_running_mode=multi_processing", f"--direct_num_workers={number}"]
    assert in_useful_processes(BEAMS_OWN, answers) == BEAMS_OWN + (several if number > 1 else [])


@pytest.mark.parametrize(
    "given",
    [
        [*BEAMS_OWN, "--direct_num_workers=1"],
        [*BEAMS_OWN, "--direct_running_mode=in_memory"],
        ["--runner=DataflowRunner", "--num_workers=2"],
        [],
    ],
    ids=["so many", "this way", "another runner", "no runner"],
)
def test_what_the_config_says_stays(given):
    assert in_useful_processes(given, 1_000_000) == given


def test_photos_are_counted_by_their_shards_for_each_model(tmp_path):
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(tmp_path), '["train", "eval"]'
    for split, shards in (("train", 9), ("eval", 3)):
        for number in range(shards):
            shard = tmp_path / f"Split-{split}" / f"examples-{number:05d}.tfrecord"
            shard.parent.mkdir(exist_ok=True)
            shard.touch()
    assert most_answers([examples], ["eval"], 2) == 2 * 3 * processes.PHOTOS_PER_SHARD
    assert most_answers([examples], ["train", "eval"], 1) == 12 * processes.PHOTOS_PER_SHARD
