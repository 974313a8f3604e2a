"""A change reruns what depends on it and nothing else: counted over nine runs of real, edited source trees."""

import pytest
from workbench import COMPARES, NODES, Bench, copy_source, drawn, executed

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caching")
    bench = Bench(folder, source=copy_source(folder / "source"))
    temporary = folder / "temporary"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TMPDIR", str(temporary))
        # So that Python keeps what it compiles, as it does for users.
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        bench.ingest(drawn(folder / "first"))
        yield bench


@pytest.fixture(scope="module")
def first_runs(bench):
    """Three runs with nothing changed between them, each with the versions that were there after it."""
    return [(bench.run(), bench.versions()) for _ in range(3)]


def _edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_first_run_executes_everything_and_pushes(first_runs):
    run, versions = first_runs[0]
    assert executed(run) == NODES
    assert (run["verdict"], [str(run["version"])]) == ("pushed", versions)


def test_a_second_run_compares_with_the_new_baseline_and_pushes_no_copy(first_runs):
    run, versions = first_runs[1]
    assert executed(run) <= COMPARES
    assert (run["verdict"], versions) == ("unchanged", first_runs[0][1])
    assert run["baseline"]["mean_iou"] == run["metrics"]["mean_iou"]


def test_a_third_run_executes_only_the_resolver(first_runs):
    run, versions = first_runs[2]
    assert executed(run) == {"LatestBlessedModel"}
    assert (run["verdict"], versions) == ("unchanged", first_runs[0][1])


def test_runs_leave_nothing_in_the_temporary_folder(bench, first_runs):
    assert list((bench.folder / "temporary").rglob("*")) == []


def test_an_edit_of_metric_code_evaluates_again(bench, first_runs):
    _edit(bench.source / "trainer" / "metrics.py", '"""The segmentation', '"""The very segmentation')
    assert executed(bench.run()) == COMPARES


def test_an_edit_of_model_code_trains_again(bench, first_runs):
    _edit(bench.source / "trainer" / "model.py", "momentum=0.95", "momentum=0.9")
    run = bench.run()
    assert executed(run) == {"Trainer", "ModelCanary"} | COMPARES
    assert (run["verdict"], len(bench.versions())) == ("pushed", 2)


def test_an_edit_of_preprocessing_transforms_again(bench, first_runs):
    _edit(bench.source / "trainer" / "preprocessing.py", "pixels / 255.0", "pixels / 256.0")
    assert executed(bench.run()) == {"Transform", "Trainer", "ModelCanary"} | COMPARES


def test_an_edit_of_the_schema_validates_again(bench, first_runs):
    _edit(bench.source / "schema" / "schema.pbtxt", "max: 20000", "max: 30000")
    unaffected = {"SpanExampleGen"}
    assert executed(bench.run()) == NODES - unaffected


def test_a_new_span_reruns_everything(bench, first_runs):
    done = bench.ingest(drawn(bench.folder / "second", seed=18))
    assert "span-2" in done.stdout
    assert executed(bench.run()) == NODES - {"ImportSchemaGen"}


def test_the_older_span_can_still_be_chosen(bench, first_runs):
    assert executed(bench.run("--span", "1")) <= COMPARES
