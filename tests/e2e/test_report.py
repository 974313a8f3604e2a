"""Whatever a run raises or is refused for, its report says so; and the page is one that people can use.

One workspace: one component after the other raises, each run taking what came before from the cache; then gates refuse.
"""

import contextlib
import json
from pathlib import Path

import pytest
from browser import chromium, needs_chromium, tab
from workbench import NODES, Bench, drawn, with_unknown_breed

from components.errors import RefusedError, SegpipeError

pytestmark = pytest.mark.e2e

LIMIT = 5_000_000
RESOLVER = "LatestBlessedModel"
# A bound that no drawn pet reaches.
HIGH_GATE = {"gate": {"min_mean_iou": 0.99, "min_class_iou": 0.0}}


def components_of(bench: Bench) -> dict[str, type]:
    """The nodes of the DAG in the order in which they run -> the class that does their work."""
    from tfx.dsl.components.common.resolver import Resolver

    from pipeline.config import load_config
    from pipeline.dag import create_pipeline
    from pipeline.plan import plan
    from pipeline.workspace import Workspace

    config, workspace = load_config(str(bench.config)), Workspace.at(str(bench.workspace))
    nodes = create_pipeline(config, plan(config, workspace, None)).components
    return {n.id: n._strategy_class if isinstance(n, Resolver) else n.executor_spec.executor_class for n in nodes}


class Told:
    """The reports of the runs that went wrong, and of one that did not.

    Attributes:
      bench: the workspace.
      pages: what broke -> path of the page.
      pushed_before: what broke -> versions that were served when that run began.
    """

    def __init__(self, bench: Bench):
        self.bench, self.pages, self.pushed_before = bench, {}, {}

    def run(self, name: str, error: type[Exception] | None = None, run_fn: str = "trainer.train.run_fn") -> None:
        """Runs the pipeline, which must raise as told, and insists on one more report."""
        reports = self.bench.workspace / "reports"
        before, self.pushed_before[name] = set(reports.glob("*")), self.bench.versions()
        with pytest.raises(error) if error else contextlib.nullcontext():
            self.bench.run_here(run_fn)
        (new,) = set(reports.glob("*")) - before
        self.pages[name] = new / "report.html"

    def figures(self, name: str) -> dict:
        return json.loads((self.pages[name].parent / "report.json").read_text())


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Told:
    bench = Bench(tmp_path_factory.mktemp("reports"))
    told = Told(bench)
    bench.ingest(drawn(bench.folder / "drawn"))
    for name, kind in components_of(bench).items():

        def boom(*_, component=name, **__):
            raise RuntimeError(f"boom in {component}")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "Do" if hasattr(kind, "Do") else "resolve_artifacts", boom)
            told.run(name, SegpipeError if name == RESOLVER else RuntimeError)
    told.run("pushed")
    bench.sections = HIGH_GATE
    told.run("gate")
    told.run("canary", RefusedError, "broken_model.run_fn")
    bench.ingest(with_unknown_breed(drawn(bench.folder / "strange", seed=5)))
    told.run("anomaly", RefusedError)
    return told


@pytest.mark.parametrize("node", sorted(NODES))
def test_a_component_that_raises_leaves_a_report_that_names_it_and_what_it_raised(told, node):
    figures, page = told.figures(node), told.pages[node].read_text()
    assert (figures["verdict"], figures["version"]) == ("failed", None)
    # TFX keeps the exception of a resolver to its log.
    raised = "LatestBlessedModel could not look up its models" if node == RESOLVER else f"RuntimeError: boom in {node}"
    assert len(figures["reasons"]) == 1 and figures["reasons"][0].startswith(f"{node} failed: {raised}")
    assert figures["nodes"][node]["state"] == "failed"
    assert f"<h1>Failed in {node}</h1>" in page and raised in page
    assert told.pushed_before["pushed"] == [], "nothing was pushed until every component came through"


@pytest.mark.parametrize(
    "gate, node, reason",
    [
        ("gate", "SegmentationEvaluator", "under the threshold 0.99"),
        ("canary", "ModelCanary", "the exported model may not serve: signature serving_default is missing"),
        ("anomaly", "AnomalyGate", "Unicorn"),
    ],
)
def test_a_refused_run_leaves_a_report_that_says_why(told, gate, node, reason):
    figures, page = told.figures(gate), told.pages[gate].read_text()
    assert (figures["verdict"], figures["version"]) == ("refused", None)
    assert node in figures["nodes"] and reason in "; ".join(figures["reasons"])
    assert "<h1>Refused: nothing was pushed</h1>" in page and reason in page
    assert page.index("<h1>") < page.index(reason) < page.index("<h2")


def test_a_pushed_run_leaves_every_figure(told):
    figures, page = told.figures("pushed"), told.pages["pushed"].read_text()
    status = {run["run_id"]: run for run in told.bench.status()["runs"]}[figures["run_id"]]
    assert status.items() <= figures.items(), "status and report tell the same"
    assert f"<h1>Pushed as version {figures['version']}</h1>" in page
    ranking, photos = figures["evaluation"]["ranking"], figures["evaluation"]["photos"]
    named = [one["photo"] for kind in ("worst", "median", "best") for one in ranking[kind]]
    assert len(named) == len(set(named)) == min(photos, 12) and sum(ranking["histogram"]) == photos
    for photo in named:
        assert f'id="photo-{photo}"' in page and f'href="#photo-{photo}"' in page
    assert page.count("data:image/webp") == 3 * len(named)
    matrix = figures["evaluation"]["confusion"]
    total = sum(map(sum, matrix))
    right = sum(matrix[label][label] for label in range(len(matrix)))
    assert right / total == pytest.approx(figures["metrics"]["pixel_accuracy"])
    assert figures["training"]["curve"][-1]["step"] == 4
    data, (span,) = figures["data"], figures["data"]["window"]["spans"]
    assert (span["found"], data["window"]["quarantined"], data["anomalies"]) == (32, {}, [])
    assert data["counts"]["train"]["StatisticsGen"] + data["counts"]["eval"]["SegmentationEvaluator"] == 32
    for split in ("train", "eval"):
        assert sum(data["statistics"][split]["class_share"].values()) == pytest.approx(1, abs=1e-3)
    assert figures["setup"]["config"]["training"]["steps"] == 4
    assert figures["setup"]["versions"]["tfx"].startswith("1.")


def test_the_next_run_is_shown_beside_the_one_whose_model_it_is_compared_with(told):
    before, after = told.figures("pushed"), told.figures("gate")
    assert after["baseline_model"]["version"] == before["version"]
    assert after["baseline"]["mean_iou"] == pytest.approx(before["metrics"]["mean_iou"], abs=1e-6)
    assert after["evaluation"]["baseline_intervals"]["mean_iou"] > 0
    history = [run["mean_iou"] for run in after["history"] if run["mean_iou"] is not None]
    assert len(history) >= 2 and after["history"][-1]["run_id"] == after["run_id"]
    assert f"(version {before['version']}, run " in told.pages["gate"].read_text()


def test_previous_data_are_beside_those_of_a_new_span(told):
    previous = told.figures("anomaly")["data"]["previous"]
    assert previous == told.figures("pushed")["data"]["statistics"]


def test_segpipe_report_makes_the_same_page_again(told):
    """The report says what is recorded: without the files of the run before, byte for byte the same."""
    page = told.pages["pushed"]
    before = page.read_bytes()
    page.unlink()
    run_id = told.figures("pushed")["run_id"]
    assert told.bench.segpipe("report", run_id).stdout.split() == [str(page)]
    assert page.read_bytes() == before
    newest = told.bench.segpipe("report", "--json")
    assert json.loads(newest.stdout) == {"report": str(told.pages["anomaly"])}


def test_segpipe_diff_names_what_was_changed(told):
    runs = [told.figures(name)["run_id"] for name in ("pushed", "gate")]
    found = json.loads(told.bench.segpipe("diff", *runs, "--json").stdout)
    assert found["config"] == {"gate.min_mean_iou": [0.0, 0.99], "gate.max_drop": [1.0, 0.02]}
    assert found["run"]["verdict"] == ["pushed", "refused"]
    assert found["source"] == {}
    shown = told.bench.segpipe("diff", *runs).stdout
    assert ["gate.min_mean_iou", "0", "0.99"] in [line.split() for line in shown.splitlines()]


def test_a_run_tells_its_result_as_json_and_on_standard_error_what_each_component_did(told):
    """Everything but the gate comes from the cache; it refuses as before."""
    told.bench.sections = HIGH_GATE
    done = told.bench.segpipe("run", "--span", "1", "--config", told.bench.config, "--json", status=3)
    result = json.loads(done.stdout)
    assert (result["verdict"], result["reasons"]) == ("refused", told.figures("gate")["reasons"])
    assert json.loads(Path(result["report"]).with_name("report.json").read_text())["run_id"] == result["run_id"]
    assert Path(result["log"]).is_file()
    lines = [line.split() for line in done.stderr.splitlines()]
    assert ["✓", "Transform", "32", "photos", "cached"] in lines and ["✓", "Trainer", "4", "steps", "cached"] in lines
    assert lines[-1][:2] == ["segpipe:", "refused,"]
    assert "\x1b" not in done.stdout + done.stderr


VIEWS = [(1440, "light"), (390, "light"), (1440, "dark"), (390, "dark")]


@needs_chromium
@pytest.mark.parametrize("name", ["pushed", "gate", "canary", "anomaly", "SpanExampleGen", "Trainer"])
def test_the_page_is_readable_for_everybody_on_any_screen(told, name):
    assert told.pages[name].stat().st_size < LIMIT
    with chromium() as browser:
        for width, scheme in VIEWS:
            with tab(browser, told.pages[name].as_uri(), width, scheme=scheme) as seen:
                seen.page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
                assert seen.problems == [], (width, scheme)
                assert seen.violations() == [], (width, scheme)
                assert seen.broken_pictures() == [], (width, scheme)
                assert seen.overflow() <= 0, (width, scheme)
                heading = seen.page.locator("h1").bounding_box()
                assert heading["y"] < 300 and heading["x"] + heading["width"] <= width, "the verdict is seen at once"


@needs_chromium
def test_the_link_of_a_photo_leads_to_it(told):
    with chromium() as browser, tab(browser, told.pages["pushed"].as_uri()) as seen:
        link = seen.page.locator("figcaption a").last
        link.click()
        photo = seen.page.locator(":target")
        assert photo.get_attribute("id") == f"photo-{link.inner_text()}"
        assert seen.page.evaluate("location.hash") != ""


@needs_chromium
def test_the_page_prints_on_white_paper(told, tmp_path):
    with chromium() as browser, tab(browser, told.pages["pushed"].as_uri(), scheme="dark") as seen:
        seen.page.emulate_media(media="print", color_scheme="dark")
        colour = "getComputedStyle(document.querySelector({0!r})).{1}".format
        assert seen.page.evaluate(colour("body", "backgroundColor")) == "rgb(255, 255, 255)"
        assert seen.page.evaluate(colour("h1", "color")) == "rgb(23, 33, 43)"
        assert seen.page.evaluate(colour("nav", "display")) == "none"
        assert seen.violations() == []
        assert seen.page.pdf(format="A4").startswith(b"%PDF")
