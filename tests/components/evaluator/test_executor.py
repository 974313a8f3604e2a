"""The Evaluator for real: its summary says what `segpipe evaluate` says, and why a model was refused."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from drawing import save, write_brightness_model, write_pets
from google.protobuf import json_format
from tensorflow.python.eager.polymorphic_function.concrete_function import ConcreteFunction
from tfx.types import standard_artifacts
from workbench import beam_workers

from components.errors import SegpipeError
from components.evaluator import processes
from components.evaluator.eval_config import build_eval_config, build_golden_config
from components.evaluator.executor import SUMMARY, Executor
from components.evaluator.settings import GateSettings, MetricSettings
from components.example_gen.executor import Executor as ExampleGenExecutor
from components.example_gen.window import write_window
from components.inference.evaluate import evaluate
from components.inference.served_model import ServedModel
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from trainer.features import ClassSpec, FeatureSpec

# Drawn pets are bright blobs with a contour on dark ground, so brightness is a fair model of them.
SPEC = FeatureSpec(
    classes=(ClassSpec(name="background", values=(2,)), ClassSpec(name="pet", values=(1, 3))), height=32, width=48
)
EVALUATED = ["pug_3", "pug_4", "Bengal_2"]


def artifact(kind, uri: Path):
    made = kind()
    made.uri = str(uri)
    return made


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> SimpleNamespace:
    """Examples of three evaluation photos, a good model and a bad one."""
    folder = tmp_path_factory.mktemp("evaluator")
    source = write_pets(folder / "source", ["pug_1", "Bengal_1"], EVALUATED)
    lists, trimaps = str(source / "annotations"), str(source / "annotations" / "trimaps")
    ingest(str(folder / "data"), str(source / "images"), trimaps, SPEC, DataSettings(), lists)
    examples = artifact(standard_artifacts.Examples, folder / "examples")
    ExampleGenExecutor().Do({}, {"examples": [examples]}, {"window": write_window(str(folder / "data"), [1])})
    models = {}
    for name, inverted in (("good", False), ("bad", True)):
        write_brightness_model(folder / name / "Format-Serving", SPEC, inverted)
        models[name] = artifact(standard_artifacts.Model, folder / name)
    return SimpleNamespace(folder=folder, source=source, examples=examples, models=models)


def judge(
    bench,
    folder: Path,
    model: str,
    gate: GateSettings,
    baseline: str | None = None,
    tolerance: int = 5,
    beam_args: tuple[str, ...] = (),
) -> tuple[dict, int]:
    """The summary of an evaluation, and whether the model is blessed."""
    evaluation = artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    blessing = artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    inputs = {"examples": [bench.examples], "model": [bench.models[model]]}
    if baseline is not None:
        inputs["baseline_model"] = [bench.models[baseline]]
    config = build_eval_config(SPEC, MetricSettings(boundary_tolerance=tolerance), gate, ["breed"], "f00d")
    properties = {
        "eval_config": json_format.MessageToJson(config),
        "example_splits": json.dumps(["eval"]),
        "fairness_indicator_thresholds": "null",
        "current_component_id": "SegmentationEvaluator",
    }
    executor = Executor(Executor.Context(beam_pipeline_args=[*beam_args]))
    executor.Do(inputs, {"evaluation": [evaluation], "blessing": [blessing]}, properties)
    return json.loads(evaluation.get_string_custom_property(SUMMARY)), blessing.get_int_custom_property("blessed")


EASY = GateSettings(min_mean_iou=0.5, min_class_iou=0.4, max_drop=0.02, min_photos=3)


def test_the_gate_measures_what_segpipe_evaluate_shows(tmp_path, bench):
    """One model, the same photos, two ways: through TFMA and Beam, and through the command."""
    for stem in EVALUATED:
        for folder, name in (("images", f"{stem}.jpg"), ("annotations/trimaps", f"{stem}.png")):
            save(tmp_path / folder / name, (bench.source / folder / name).read_bytes())
    model = ServedModel(str(bench.folder / "good" / "Format-Serving"))
    folders = str(tmp_path / "images"), str(tmp_path / "annotations/trimaps")
    shown = evaluate(model, *folders, DataSettings(), MetricSettings(), lambda *_: None)
    summary, blessed = judge(bench, tmp_path, "good", EASY)
    measured = summary["metrics"]
    assert (blessed, summary["refusals"], summary["baseline"]) == (1, [], None)
    assert {name: measured[name] for name in shown["metrics"]} == pytest.approx(shown["metrics"])
    assert {name: measured[f"model_size/{name}"] for name in shown["metrics"]} == pytest.approx(shown["model_size"])
    assert summary["intervals"] == pytest.approx(shown["intervals"], abs=1e-9)
    assert summary["intervals"]["mean_iou"] > 0
    assert summary["slice_intervals"]["breed=pug"]["mean_iou"] > 0
    assert summary["slice_intervals"]["breed=Bengal"]["mean_iou"] is None, "one photo tells nothing of others"
    assert measured["photos"] == 3.0
    assert {name: scores["photos"] for name, scores in summary["slices"].items()} == {"breed=pug": 2, "breed=Bengal": 1}
    # Thresholds decided something: the model is neither perfect nor empty.
    assert 0.5 < measured["mean_iou"] < 0.99


def test_a_refused_model_says_which_score_missed_which_bound(tmp_path, bench):
    gate = GateSettings(min_mean_iou=0.999, min_class_iou={"pet": 0.998}, min_photos=4)
    summary, blessed = judge(bench, tmp_path, "good", gate)
    metrics = summary["metrics"]
    assert blessed == 0
    assert sorted(summary["refusals"]) == [
        f"iou/pet of all photos is {metrics['iou/pet']:.4f}, under the threshold 0.998",
        f"mean_iou of all photos is {metrics['mean_iou']:.4f}, under the threshold 0.999",
        "photos of all photos is 3.0000, under the threshold 4",
    ]


def test_one_bad_slice_is_refused_and_named(tmp_path, bench):
    free = GateSettings(min_mean_iou=0.0, min_class_iou=0.0)
    slices = judge(bench, tmp_path / "free", "good", free)[0]["slices"]
    found = {name: slices[name]["mean_iou"] for name in ("breed=pug", "breed=Bengal")}
    worse, better = sorted(found, key=found.get)
    bound = (found[worse] + found[better]) / 2
    summary, blessed = judge(bench, tmp_path, "good", free.model_copy(update={"min_slice_mean_iou": {"breed": bound}}))
    assert blessed == 0
    assert summary["refusals"] == [f"mean_iou of {worse} is {found[worse]:.4f}, under the threshold {bound:g}"]


def test_a_model_that_is_worse_than_the_blessed_one_says_by_how_much(tmp_path, bench):
    gate = GateSettings(min_mean_iou=0.0, min_class_iou=0.0, max_drop=0.02)
    summary, blessed = judge(bench, tmp_path, "bad", gate, baseline="good")
    drop = summary["baseline"]["mean_iou"] - summary["metrics"]["mean_iou"]
    assert blessed == 0
    assert summary["refusals"] == [
        f"mean_iou of all photos is {drop:.4f} under the blessed model's {summary['baseline']['mean_iou']:.4f}, more "
        "than gate.max_drop 0.02"
    ]


def test_a_boundary_f1_under_its_bound_is_refused(tmp_path, bench):
    gate = GateSettings(min_mean_iou=0.0, min_class_iou=0.0, min_mean_boundary_f1=0.9999)
    summary, blessed = judge(bench, tmp_path, "good", gate, tolerance=1)
    f1 = summary["metrics"]["mean_boundary_f1"]
    assert (blessed, 0.1 < f1 < 0.9999) == (0, True)
    assert summary["refusals"] == [f"mean_boundary_f1 of all photos is {f1:.4f}, under the threshold 0.9999"]


def test_a_slice_that_is_worse_than_the_blessed_models_is_refused_and_named(tmp_path, bench):
    gate = GateSettings(min_mean_iou=0.0, min_class_iou=0.0, max_drop=1.0, max_slice_drop={"breed": 0.05})
    # Without a blessed model there is nothing to lie under.
    first, blessed = judge(bench, tmp_path / "first", "good", gate)
    assert (blessed, first["refusals"]) == (1, [])
    summary, blessed = judge(bench, tmp_path / "bad", "bad", gate, baseline="good")
    assert blessed == 0
    was, now = first["slices"], summary["slices"]
    assert sorted(summary["refusals"]) == [
        f"mean_iou of {breed} is {was[breed]['mean_iou'] - now[breed]['mean_iou']:.4f} under the blessed model's "
        f"{was[breed]['mean_iou']:.4f}, more than gate.max_slice_drop.breed 0.05"
        for breed in ("breed=Bengal", "breed=pug")
    ]


def test_a_threshold_that_no_photo_could_meet_is_one_sentence(tmp_path, bench):
    gate = GateSettings(min_mean_iou=0.0, min_class_iou=0.0, min_slice_mean_iou={"species": 0.1})
    summary, blessed = judge(bench, tmp_path, "good", gate)
    assert (blessed, summary["refusals"]) == (0, ["no photo has the slice key species, so a threshold was not checked"])


def test_the_golden_set_is_measured_on_all_its_photos_and_nothing_is_decided(tmp_path, bench):
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation")
    config = build_golden_config(SPEC, MetricSettings(), ["breed"], "f00d")
    Executor().Do(
        {"examples": [bench.examples], "model": [bench.models["bad"]]},
        {"evaluation": [evaluation]},
        {"eval_config": json_format.MessageToJson(config), "example_splits": json.dumps(["train", "eval"])},
    )
    summary = json.loads(evaluation.get_string_custom_property(SUMMARY))
    assert (summary["metrics"]["photos"], summary["refusals"], summary["baseline"]) == (5.0, [], None)
    assert summary["slices"]["breed=pug"]["photos"] == 3.0
    assert summary["intervals"]["mean_iou"] > 0


def test_a_model_as_good_as_the_blessed_one_is_blessed(tmp_path, bench):
    summary, blessed = judge(bench, tmp_path, "good", EASY, baseline="good")
    assert (blessed, summary["refusals"]) == (1, [])
    assert (summary["baseline"], summary["lost_baseline"]) == (summary["metrics"], None)


@pytest.mark.parametrize("model, blessed", [("good", 1), ("bad", 0)])
@pytest.mark.parametrize("rest, what", [(".", "is gone"), ("Format-Serving", "cannot be loaded (OSError: ")])
def test_without_the_files_of_the_blessed_model_the_value_thresholds_decide(
    tmp_path, bench, model, blessed, rest, what, caplog
):
    blessed_model = tmp_path / "blessed"
    shutil.copytree(bench.folder / "good", blessed_model)
    if rest == ".":
        shutil.rmtree(blessed_model)
    else:
        (blessed_model / rest / "saved_model.pb").write_bytes(b"no graph")
    bench.models["lost"] = artifact(standard_artifacts.Model, blessed_model)
    summary, decided = judge(bench, tmp_path, model, EASY, baseline="lost")
    assert (decided, summary["baseline"], bool(summary["refusals"])) == (blessed, None, not blessed)
    assert all("under the threshold" in refusal for refusal in summary["refusals"])
    assert summary["lost_baseline"].startswith(f"the baseline at {blessed_model}/Format-Serving {what}")
    assert summary["lost_baseline"] in caplog.text


def test_no_error_message_is_made_of_the_photos(tmp_path, bench, monkeypatch):
    # Where an input has no name TensorFlow makes one, which takes as long as the net, and then comes here.
    monkeypatch.delattr(ConcreteFunction, "_call_with_flat_signature")
    summary, blessed = judge(bench, tmp_path, "good", EASY, "bad")
    assert blessed and summary["metrics"]["photos"] == 3.0


def test_several_processes_find_the_same(tmp_path, bench, monkeypatch):
    beam_args = ("--runner=DirectRunner", "--sdk_container_image=none")
    one = judge(bench, tmp_path / "one", "good", EASY, "bad", beam_args=beam_args)
    monkeypatch.setattr(processes, "useful_processes", lambda *_: 2)
    started, run = [], SubprocessSdkWorker.run

    def noting(worker: SubprocessSdkWorker) -> None:
        started.append(worker)
        run(worker)

    monkeypatch.setattr(SubprocessSdkWorker, "run", noting)
    two = judge(bench, tmp_path / "two", "good", EASY, "bad", beam_args=beam_args)
    assert len(started) == 2
    assert two == one


def test_a_process_that_is_ended_before_it_has_photos_ends_the_evaluation(tmp_path, bench, monkeypatch):
    monkeypatch.setattr(processes, "useful_processes", lambda *_: 2)
    run, commands = SubprocessSdkWorker.run, []

    def ended(worker: SubprocessSdkWorker) -> None:
        # The first is ended as the kernel does where memory is out, the other one lives on.
        if not commands:
            worker._worker_command_line = "kill -9 $$"
        commands.append(worker._worker_command_line)
        run(worker)

    monkeypatch.setattr(SubprocessSdkWorker, "run", ended)
    with pytest.raises(SegpipeError, match="a process of this Beam pipeline was ended, most likely for want of memory"):
        judge(bench, tmp_path, "good", EASY, "bad", beam_args=("--runner=DirectRunner", "--sdk_container_image=none"))
    assert len(commands) == 2 and not psutil.wait_procs(beam_workers(os.getpid(), shells=True), timeout=10)[1]
