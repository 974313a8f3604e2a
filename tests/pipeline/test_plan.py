"""What a run will read and write, found before TFX is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from manifests import write_span

from components.anomaly_gate.comparisons import read_comparisons
from components.errors import UsageError
from components.example_gen.window import read_window
from components.ingest.settings import DataSettings
from pipeline.config import Config, load_config
from pipeline.plan import choose_spans, plan
from pipeline.schema_file import read_schema
from pipeline.workspace import Workspace
from trainer.features import ClassSpec, FeatureSpec
from trainer.settings import ModelSettings, TrainingSettings


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace.at(str(tmp_path / "workspace"))
    for number in (1, 2, 10):
        write_span(workspace, number, Config())
    return workspace


@pytest.mark.parametrize("asked, chosen", [(None, 10), (2, 2), (10, 10)])
def test_the_newest_span_runs_unless_another_is_named(workspace, asked, chosen):
    assert choose_spans(Config(), workspace, asked, None) == [chosen]


def test_a_span_that_is_not_there_is_a_usage_error_that_names_those_that_are(workspace):
    # Nor is anything older taken in its place.
    with pytest.raises(UsageError, match=r"^--span 3: nothing new, that span is not in .*spans there: 1, 2, 10\)"):
        choose_spans(Config(), workspace, 3, None)


def test_a_workspace_without_spans_says_what_to_run_first(tmp_path):
    workspace = Workspace.at(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match=rf"holds no span; run segpipe ingest --workspace {tmp_path}/empty first"):
        plan(Config(), workspace, None)
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    "asked, window, setting, chosen",
    [
        (None, None, 2, [2, 10]),
        (None, 3, 1, [1, 2, 10]),
        (None, 9, 1, [1, 2, 10]),
        (2, 3, 1, [1, 2]),
        (2, 1, 3, [2]),
    ],
    ids=["by config", "by option", "fewer spans than asked for", "up to a span", "the option decides"],
)
def test_a_window_is_the_last_spans_up_to_the_one_asked_for(workspace, asked, window, setting, chosen):
    config = Config(data=DataSettings(window=setting))
    assert choose_spans(config, workspace, asked, window) == chosen
    assert [span.number for span in read_window(plan(config, workspace, asked, window).window).spans] == chosen


def test_the_golden_span_is_in_no_window(workspace):
    assert choose_spans(golden(2), workspace, None, 3) == [1, 10]


def test_the_spans_of_a_window_fill_a_batch_together(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    for number in (1, 2):
        write_span(workspace, number, Config(), photos=16)
    assert choose_spans(Config(), workspace, None, 2) == [1, 2]
    with pytest.raises(UsageError, match="span 2 holds 16 training photos, fewer than training.batch_size 32"):
        choose_spans(Config(), workspace, None, 1)
    with pytest.raises(UsageError, match="spans 1, 2 hold 32 training photos, fewer than training.batch_size 33"):
        choose_spans(Config(training=TrainingSettings(steps=1, batch_size=33)), workspace, None, 2)


def test_every_span_of_a_window_was_ingested_under_the_settings_of_the_run(workspace):
    write_span(workspace, 9, Config(features=FeatureSpec(ignore_values=(255,))))
    assert choose_spans(Config(), workspace, None, 1) == [10]
    with pytest.raises(UsageError, match="span 9 was ingested with ignore_values"):
        choose_spans(Config(), workspace, None, 2)


def test_an_evaluation_photo_trains_in_no_span_of_the_window(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    write_span(workspace, 1, Config(), sources={"a": "train", "b": "eval"})
    write_span(workspace, 2, Config(), sources={"a": "eval", "c": "train"})
    with pytest.raises(UsageError, match="span 1: training photo a.jpg is evaluation photo a.jpg of span 2") as problem:
        plan(Config(), workspace, None, window=2)
    assert str(problem.value).endswith("leave that span out of the window")
    assert plan(Config(), workspace, None, window=1).window


def test_a_plan_compares_every_span_of_the_window_with_the_one_before_it(workspace):
    def compared(config: Config, window: int) -> list[tuple[int, int]]:
        pairs = read_comparisons(plan(config, workspace, None, window).comparisons)
        return [(pair.span.number, pair.previous.number) for pair in pairs]

    assert compared(Config(), 1) == [(10, 2)]
    assert compared(Config(), 3) == [(2, 1), (10, 2)]
    assert compared(golden(2), 1) == [(10, 1)]


STREETS = FeatureSpec(
    classes=(ClassSpec(name="road", values=(0,)), ClassSpec(name="car", values=(4, 5))), background="road"
)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"features": STREETS}, "classes"),
        ({"features": FeatureSpec(ignore_values=(255,))}, "ignore_values"),
        ({"data": DataSettings(slice_keys={"city": {"^(a)": "b"}})}, "slice_keys"),
        ({"data": DataSettings(masks_follow_exif=True)}, "masks_follow_exif"),
        ({"data": DataSettings(max_pixels=1000)}, "max_pixels"),
    ],
)
def test_a_span_of_other_settings_is_refused_and_the_setting_named(workspace, change, named):
    with pytest.raises(UsageError, match=f"span 10 was ingested with {named} .*the config says") as problem:
        choose_spans(Config(**change), workspace, None, None)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "change",
    [
        {"features": FeatureSpec(height=64, width=64)},
        {"features": FeatureSpec(pixel_mean=(0.5, 0.5, 0.5))},
        {"data": DataSettings(eval_share=0.5, max_quarantine=0.5)},
        {"training": TrainingSettings(steps=3)},
        {"pipeline_name": "other"},
    ],
)
def test_what_does_not_touch_the_spans_bytes_needs_no_new_ingest(workspace, change):
    assert choose_spans(Config(**change), workspace, None, None) == [10]


def test_a_colour_is_no_reason_to_ingest_again(workspace):
    pet, background, contour = FeatureSpec().classes
    painted = FeatureSpec(classes=(pet.model_copy(update={"colour": "#ff0000"}), background, contour))
    assert choose_spans(Config(features=painted), workspace, None, None) == [10]


def test_a_config_from_yaml_matches_a_manifest_from_json(tmp_path):
    # Tuples, lists and the order of keys differ between the two; what they say does not.
    path = tmp_path / "own.yaml"
    path.write_text(
        "features: {classes: [{name: road, values: [0]}, {name: car, values: [4, 5]}], background: road}\n"
        "data: {slice_keys: {b: {'^(x)': y}, a: {'^(z)': w}}}\n"
    )
    workspace, config = Workspace.at(str(tmp_path / "workspace")), load_config(str(path))
    write_span(workspace, 1, config)
    assert choose_spans(config, workspace, None, None) == [1]


@pytest.mark.parametrize("photos, passes", [(31, False), (32, True)])
def test_a_span_must_fill_a_batch(tmp_path, photos, passes):
    workspace = Workspace.at(str(tmp_path))
    write_span(workspace, 1, Config(), photos)
    if passes:
        assert choose_spans(Config(), workspace, None, None) == [1]
    else:
        with pytest.raises(UsageError, match="span 1 holds 31 training photos, fewer than training.batch_size 32"):
            choose_spans(Config(), workspace, None, None)


def test_a_plan_names_a_window_a_schema_and_where_to_write(workspace):
    places = plan(Config(), workspace, 2)
    assert [span.number for span in read_window(places.window).spans] == [2]
    assert read_schema(places.schema).feature
    assert places.schema.startswith(workspace.schemas)
    assert (places.pipeline_root, places.serving) == (workspace.pipeline_root, workspace.serving)
    assert places.checkpoints == workspace.checkpoints


@pytest.mark.parametrize("chosen, other", [(2, 1), (1, 2)])
def test_a_warm_start_is_refused_where_the_older_model_may_have_learnt_an_evaluation_photo(tmp_path, chosen, other):
    workspace = Workspace.at(str(tmp_path))
    write_span(workspace, chosen, Config(), sources={"a": "eval", "b": "train"})
    write_span(workspace, other, Config(), sources={"a": "train", "b": "eval"})
    warm = Config(training=TrainingSettings(steps=1, warm_start=True))
    with pytest.raises(UsageError, match=rf"span {other}: training photo a.jpg is evaluation photo a.jpg of span") as e:
        plan(warm, workspace, chosen)
    assert str(e.value).endswith("turn training.warm_start off or ingest with another split")
    assert plan(Config(), workspace, chosen).window


def test_a_warm_start_across_spans_that_share_only_training_photos_is_planned(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    for number in (1, 2):
        write_span(workspace, number, Config(), sources={"a": "train", "b": "eval"})
    assert plan(Config(training=TrainingSettings(steps=1, warm_start=True)), workspace, None).window


def test_weights_that_are_not_there_stop_a_run_before_anything_is_written(workspace):
    config = Config(model=ModelSettings(name="encoder", weights="/nowhere/own.h5"))
    with pytest.raises(UsageError, match="^model.weights: /nowhere/own.h5: No such file or directory; name a file"):
        plan(config, workspace, None)
    assert not Path(workspace.schemas).exists()


def golden(span: int, **change) -> Config:
    return Config(data=DataSettings(golden_span=span), **change)


def test_a_plan_without_a_golden_span_has_no_golden_window(workspace):
    assert plan(Config(), workspace, None).golden is None


@pytest.mark.parametrize("span, newest", [(10, 2), (2, 10), (1, 10)])
def test_the_golden_span_is_evaluated_and_never_the_newest(workspace, span, newest):
    places = plan(golden(span), workspace, None)
    assert [s.number for s in read_window(places.window).spans] == [newest]
    assert [s.number for s in read_window(places.golden).spans] == [span]


def test_a_run_on_the_golden_span_itself_is_refused(workspace):
    with pytest.raises(UsageError, match="--span 2: is data.golden_span, which no run may train on"):
        plan(golden(2), workspace, 2)


def test_a_workspace_of_nothing_but_the_golden_span_says_so(tmp_path):
    workspace = Workspace.at(str(tmp_path))
    write_span(workspace, 4, Config())
    with pytest.raises(UsageError, match="holds no span but the golden 4; run segpipe ingest"):
        plan(golden(4), workspace, None)


def test_a_golden_span_that_is_not_there_is_named_with_its_field(workspace):
    with pytest.raises(UsageError, match=r"^data.golden_span: span 3: not in .*spans there: 1, 2, 10"):
        plan(golden(3), workspace, None)


def test_a_golden_span_of_other_settings_is_refused(workspace):
    write_span(workspace, 3, Config(features=FeatureSpec(ignore_values=(255,))))
    with pytest.raises(
        UsageError, match=r"^data.golden_span: span 3 was ingested with ignore_values .*the config says"
    ):
        plan(golden(3), workspace, None)


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_golden_photo_may_train_in_no_span_of_the_window_whatever_its_golden_split(workspace, split):
    write_span(workspace, 3, Config(), sources={"a": split, "b": "eval"})
    write_span(workspace, 11, Config(), sources={"a": "train", "c": "eval"})
    with pytest.raises(
        UsageError, match=r"^data.golden_span: span 11: training photo a.jpg is evaluation photo a.jpg of span 3"
    ):
        plan(golden(3), workspace, None)
    # Another span trains on none of them; and to be evaluated twice does no harm.
    write_span(workspace, 12, Config(), sources={"a": "eval", "d": "train"})
    assert plan(golden(3), workspace, None).golden is not None


def test_planning_the_same_run_twice_changes_nothing(workspace):
    first = plan(Config(), workspace, None)
    before = {path: path.stat().st_mtime_ns for path in Path(workspace.root).rglob("*")}
    assert plan(Config(), workspace, None) == first
    assert {path: path.stat().st_mtime_ns for path in Path(workspace.root).rglob("*")} == before


def test_a_run_that_cannot_start_says_so_without_waiting_for_tensorflow():
    script = "import sys, pipeline.plan; print({'tensorflow', 'tfx', 'apache_beam'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
