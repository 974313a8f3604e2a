"""Conservation's executor on real artifacts: it hands the verdict on where every stage has the same examples."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from drawing import write_pets
from tfx.components.statistics_gen.executor import Executor as StatisticsExecutor
from tfx.types import artifact_utils, standard_artifacts

from components.conservation import COUNTS
from components.conservation.counts import count_records
from components.conservation.executor import Executor
from components.errors import RefusedError, SegpipeError
from components.evaluator import SUMMARY
from components.evaluator.component import EvaluationVerdict
from components.example_gen.executor import Executor as ExampleGenExecutor
from components.example_gen.window import write_window
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from components.refusal import refusal_file
from trainer.features import FeatureSpec

SPANS = (
    (["pug_1", "pug_2", "Bengal_1"], ["pug_3", "Bengal_2"]),
    (["pug_4", "pug_5"], ["pug_6"]),
)
STAGES = ("manifest", "SpanExampleGen", "StatisticsGen", "Transform")


def artifact(kind, uri: Path):
    made = kind()
    made.uri = str(uri)
    return made


def records(folder: str, compression: str = "") -> list[bytes]:
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return list(tf.data.TFRecordDataset(files, compression).as_numpy_iterator())


def write(path: Path, content: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in content:
            writer.write(record)


@pytest.fixture
def run(tmp_path) -> SimpleNamespace:
    """The artifacts of a run on a window of two spans: five train, one evaluates."""
    data = str(tmp_path / "data")
    for index, (train, test) in enumerate(SPANS):
        source = write_pets(tmp_path / f"source-{index}", train, test)
        for photo in source.glob("images/*.jpg"):
            # Photos of both sources are drawn alike; a trailing byte makes their contents differ.
            photo.write_bytes(photo.read_bytes() + bytes([index]))
        annotations = str(source / "annotations")
        ingest(data, str(source / "images"), f"{annotations}/trimaps", FeatureSpec(), DataSettings(), annotations)
    window = write_window(data, [1, 2])
    examples = artifact(standard_artifacts.Examples, tmp_path / "SpanExampleGen" / "examples" / "1")
    ExampleGenExecutor().Do({}, {"examples": [examples]}, {"window": window})
    statistics = artifact(standard_artifacts.ExampleStatistics, tmp_path / "StatisticsGen" / "statistics" / "2")
    options = {"stats_options_json": tfdv.StatsOptions().to_json(), "exclude_splits": "[]"}
    StatisticsExecutor().Do({"examples": [examples]}, {"statistics": [statistics]}, options)
    transformed = artifact(standard_artifacts.Examples, tmp_path / "Transform" / "transformed_examples" / "3")
    transformed.split_names = examples.split_names
    for split in ("train", "eval"):
        # As Transform names them; what they say does not matter here.
        content = records(artifact_utils.get_split_uri([examples], split))
        for shard in range(2):
            path = Path(transformed.uri, f"Split-{split}", f"transformed_examples-0000{shard}-of-00002.tfrecord")
            write(path, content[shard::2])
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "SegmentationEvaluator" / "evaluation" / "4")
    evaluation.set_string_custom_property(SUMMARY, json.dumps({"metrics": {"photos": 1.0}}))
    verdict = artifact(EvaluationVerdict, tmp_path / "SegmentationEvaluator" / "blessing" / "4")
    verdict.set_int_custom_property("blessed", 1)
    verdict.set_int_custom_property("current_model_id", 17)
    verdict.set_string_custom_property("current_model", "/model/17")
    return SimpleNamespace(
        folder=tmp_path,
        window=window,
        inputs={
            "examples": [examples],
            "statistics": [statistics],
            "transformed_examples": [transformed],
            "evaluation": [evaluation],
            "verdict": [verdict],
        },
    )


def judge(run) -> standard_artifacts.ModelBlessing:
    blessing = artifact(standard_artifacts.ModelBlessing, run.folder / "Conservation" / "blessing" / "5")
    Executor().Do(run.inputs, {"blessing": [blessing]}, {"window": run.window, "fingerprint": "x"})
    return blessing


def test_equal_counts_make_the_verdict_a_blessing_and_are_recorded(run):
    blessing = judge(run)
    assert json.loads(blessing.get_string_custom_property(COUNTS)) == {
        "train": dict.fromkeys(STAGES, 5),
        "eval": dict.fromkeys((*STAGES, "SegmentationEvaluator"), 1),
    }
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == 17
    assert blessing.get_string_custom_property("current_model") == "/model/17"
    assert os.listdir(blessing.uri) == ["BLESSED"]


def test_a_refused_model_stays_refused(run):
    run.inputs["verdict"][0].set_int_custom_property("blessed", 0)
    blessing = judge(run)
    assert (blessing.get_int_custom_property("blessed"), os.listdir(blessing.uri)) == (0, ["NOT_BLESSED"])
    assert blessing.has_custom_property(COUNTS)


def drop_a_record(artifact, split: str) -> None:
    """Rewrites the first shard of a split without its last record."""
    folder = artifact_utils.get_split_uri([artifact], split)
    shard = Path(folder, min(os.listdir(folder)))
    content = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    write(shard, content[:-1])


def lose_in_example_gen(run) -> None:
    drop_a_record(run.inputs["examples"][0], "train")


def lose_in_statistics(run) -> None:
    path = os.path.join(run.inputs["statistics"][0].uri, "Split-eval", "FeatureStats.pb")
    statistics = tfdv.load_stats_binary(path)
    statistics.datasets[0].num_examples -= 1
    tfdv.write_stats_text(statistics, path)
    Path(path).write_bytes(statistics.SerializeToString())


def lose_in_transform(run) -> None:
    drop_a_record(run.inputs["transformed_examples"][0], "train")


def gain_in_evaluator(run) -> None:
    run.inputs["evaluation"][0].set_string_custom_property(SUMMARY, json.dumps({"metrics": {"photos": 2.0}}))


@pytest.mark.parametrize(
    "change, named",
    [
        (lose_in_example_gen, "SpanExampleGen has 4 train examples where manifest has 5; remove {examples} and run"),
        (lose_in_statistics, "StatisticsGen has 0 eval examples where SpanExampleGen has 1; remove {statistics} and"),
        (lose_in_transform, "Transform has 4 train examples where SpanExampleGen has 5; remove {transformed_examples}"),
        (gain_in_evaluator, "SegmentationEvaluator has 2 eval examples where SpanExampleGen has 1; remove {evaluat"),
    ],
)
def test_one_example_more_or_less_is_refused_by_stage_split_and_both_numbers(run, change, named):
    change(run)
    with pytest.raises(RefusedError) as refusal:
        judge(run)
    uris = {key: artifacts[0].uri for key, artifacts in run.inputs.items()}
    expected = named.split("{")[0]
    assert expected in str(refusal.value)
    key = named.partition("{")[2].partition("}")[0]
    assert key not in uris or f"remove {uris[key]} and run again" in str(refusal.value)
    assert refusal.value.exit_status == 3
    assert not (run.folder / "Conservation" / "blessing").exists()
    reasons = json.loads(Path(refusal_file(str(run.folder / "Conservation"), 5)).read_text())
    assert "; ".join(reasons) == str(refusal.value)


def test_a_file_that_ends_in_the_middle_of_a_record_is_refused_by_its_folder(run):
    folder = Path(artifact_utils.get_split_uri(run.inputs["transformed_examples"], "train"))
    shard = min(folder.iterdir())
    os.truncate(shard, shard.stat().st_size // 2)
    with pytest.raises(RefusedError, match=f"{folder}: its records cannot be read to the end .*; remove the folder"):
        judge(run)


def test_records_are_counted_in_all_files_of_a_folder(tmp_path):
    for name, count in (("a.tfrecord", 3), ("b-00000-of-00001", 4)):
        write(tmp_path / "some" / name, [b"x"] * count)
    write(tmp_path / "none" / "empty.tfrecord", [])
    assert count_records(str(tmp_path / "some")) == 7
    assert count_records(str(tmp_path / "none")) == 0
    assert count_records(str(tmp_path / "nowhere")) == 0


def test_a_cut_file_is_no_smaller_count(tmp_path):
    write(tmp_path / "a.tfrecord", [b"x" * 100] * 3)
    os.truncate(tmp_path / "a.tfrecord", 300)
    with pytest.raises(SegpipeError, match="cannot be read to the end"):
        count_records(str(tmp_path))
