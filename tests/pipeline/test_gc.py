"""What gc takes and what it leaves, on a workspace of runs that were stored as TFX stores them."""

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ml_metadata.proto import metadata_store_pb2 as mlmd
from stored_runs import GOOD, REFUSED, Store, evaluated, pushed

from components.pusher.versions import publish
from pipeline.cli import main
from pipeline.metadata import open_metadata
from pipeline.records import list_runs
from pipeline.workspace import Workspace


class Runs:
    """A workspace to which runs are added, each with examples, a model, a log and a report of its own."""

    def __init__(self, folder: Path):
        self.store, self.workspace = Store(folder), Workspace.at(str(folder))

    def _made(self, name: str, node: str, key: str) -> dict[str, str]:
        path = Path(self.uri(name, node, key))
        path.mkdir(parents=True)
        (path / "file").write_bytes(bytes(1000))
        return {"uri": str(path)}

    def uri(self, name: str, node: str, key: str) -> str:
        return os.path.join(self.workspace.pipeline_root, node, key, name)

    def run(self, name: str, verdict: str = "pushed") -> None:
        """`name` is digits, as TFX names folders; `verdict` is pushed, refused or interrupted."""
        began = time.strftime("run-%Y%m%d-%H%M%S.log")
        self._nodes(name, verdict)
        for folder, file in (("logs", began), (f"reports/{name}", "report.json")):
            os.makedirs(os.path.join(self.workspace.root, folder), exist_ok=True)
            Path(self.workspace.root, folder, file).write_text(name)

    def _nodes(self, name: str, verdict: str) -> None:
        self.store.node(name, "SpanExampleGen", "COMPLETE", examples=self._made(name, "SpanExampleGen", "examples"))
        made = self._made(name, "Trainer", "model")
        (model,) = self.store.node(name, "Trainer", "COMPLETE", model=dict(made))
        if verdict == "interrupted":
            return
        evaluated(self.store, name, GOOD if verdict == "pushed" else REFUSED)
        blessing = {"blessed": int(verdict == "pushed"), "current_model_id": model, "current_model": made["uri"]}
        self.store.node(name, "Gate", "COMPLETE", blessing=blessing | self._made(name, "Gate", "blessing"))
        version = publish(made["uri"], self.workspace.serving, made["uri"]) if verdict == "pushed" else 0
        pushed(self.store, name, pushed=int(verdict == "pushed"), version=str(version))

    def gc(self, *options: str) -> Result:
        return CliRunner().invoke(main, ["gc", *options, "--workspace", self.workspace.root])

    def there(self, node: str, key: str) -> list[str]:
        return sorted(os.listdir(os.path.join(self.workspace.pipeline_root, node, key)), key=int)


@pytest.fixture
def runs(tmp_path) -> Runs:
    return Runs(tmp_path)


def files(root: str) -> dict[Path, int]:
    return {path: path.stat().st_size for path in Path(root).rglob("*") if path.is_file() and ".lock" not in path.name}


def test_old_runs_lose_their_files_and_the_newest_keep_them(runs):
    for name in ("1", "2", "3", "4"):
        runs.run(name, "refused")
    result = runs.gc("--keep-runs", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert runs.there("Trainer", "model") == runs.there("SpanExampleGen", "examples") == ["3", "4"]
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:-1]}
    assert (rows["Model"], rows["Any"], rows["reports"][0]) == (["2", "2.0", "kB"], ["2", "2.0", "kB"], "2")
    assert result.stdout.splitlines()[-1].startswith("removed ")


def test_a_dry_run_says_the_same_and_changes_nothing(runs):
    for name in ("1", "2", "3"):
        runs.run(name, "refused")
    before, database = files(runs.workspace.root), Path(runs.store.path).read_bytes()
    dry = runs.gc("--keep-runs", "1", "--dry-run").stdout
    assert (files(runs.workspace.root), Path(runs.store.path).read_bytes()) == (before, database)
    done = runs.gc("--keep-runs", "1").stdout
    assert dry.replace("would remove", "removed") == done and files(runs.workspace.root).keys() < before.keys()
    assert runs.gc("--keep-runs", "1").stdout == "removed 0 folders and files, 0 bytes\n"


def test_the_models_that_are_served_stay_however_old_and_so_does_the_baseline(runs):
    runs.run("1")
    for name in ("2", "3", "4"):
        runs.run(name, "refused")
    runs.gc("--keep-runs", "1")
    assert runs.there("Trainer", "model") == ["1", "4"]
    assert os.path.isdir(os.path.join(runs.workspace.reports, "1"))
    # It is the baseline too, so it stays without its version.
    (version,) = os.listdir(runs.workspace.serving)
    os.rename(os.path.join(runs.workspace.serving, version), os.path.join(runs.workspace.root, "elsewhere"))
    runs.gc("--keep-runs", "1")
    assert runs.there("Trainer", "model") == ["1", "4"]


def test_the_model_of_every_version_that_is_there_stays(runs):
    for name in ("1", "2", "3"):
        runs.run(name)
    runs.run("4", "refused")
    runs.gc("--keep-runs", "1")
    assert runs.there("Trainer", "model") == ["1", "2", "3", "4"]


def test_runs_that_did_not_end_do_not_count_but_what_they_made_is_cache(runs):
    for name, verdict in {"1": "refused", "2": "refused", "3": "interrupted", "4": "interrupted"}.items():
        runs.run(name, verdict)
    runs.gc("--keep-runs", "1")
    assert runs.there("Trainer", "model") == ["2", "3", "4"]


def test_what_was_removed_is_deleted_in_mlmd_and_its_verdict_still_told(runs):
    for name in ("1", "2"):
        runs.run(name, "refused")
    before = [(run.run_id, run.verdict, run.reasons, run.summary) for run in list_runs(runs.workspace.metadata)]
    runs.gc("--keep-runs", "1")
    store = open_metadata(runs.workspace.metadata)
    states = {a.uri: a.state for a in store.get_artifacts() if "/Trainer/model/" in a.uri}
    assert states == {
        runs.uri("1", "Trainer", "model"): mlmd.Artifact.DELETED,
        runs.uri("2", "Trainer", "model"): mlmd.Artifact.LIVE,
    }
    after = [(run.run_id, run.verdict, run.reasons, run.summary) for run in list_runs(runs.workspace.metadata)]
    assert after == before
    assert runs.there("Gate", "blessing") == ["1", "2"], "a few bytes, and history is read from them"


def test_what_killed_runs_left_goes_and_other_files_stay(runs):
    runs.run("1", "refused")
    half = Path(runs.uri("77", "Transform", "transformed_examples"))
    half.mkdir(parents=True)
    (half / "part").write_bytes(bytes(500))
    root = Path(runs.workspace.pipeline_root)
    others = [
        root / "ModelCanary" / "refused" / "3.json",
        root / "Trainer" / ".system" / "executor_execution" / "3" / "a",
    ]
    others += [Path(runs.workspace.checkpoints, "key.npz"), Path(runs.workspace.data, "span-1", "manifest.json")]
    for path in others:
        path.parent.mkdir(parents=True)
        path.write_text("[]")
    result = runs.gc()
    assert "left by killed runs" in result.stdout and not half.exists()
    assert all(path.exists() for path in others)


def test_schemas_windows_listings_logs_and_reports_go_with_the_runs_that_named_them(runs):
    runs.run("1", "refused")
    time.sleep(1.1)
    runs.run("2", "refused")
    for folder in ("schemas", "data/windows", "data/listings"):
        for name in ("0123456789abcdef", "by-hand"):
            (Path(runs.workspace.root) / folder / name).mkdir(parents=True)
            (Path(runs.workspace.root) / folder / name / "a").write_text("1")
    named = os.path.join(runs.workspace.schemas, "fedcba9876543210")
    os.makedirs(named)
    store = open_metadata(runs.workspace.metadata)
    (execution,) = [e for e in store.get_executions() if e.id == max(e.id for e in store.get_executions())]
    execution.custom_properties["schema_file"].string_value = f"{named}/schema.pbtxt"
    store.put_executions([execution])
    del store
    assert len(os.listdir(runs.workspace.logs)) == 2
    runs.gc("--keep-runs", "1")
    assert sorted(os.listdir(runs.workspace.schemas)) == ["by-hand", "fedcba9876543210"]
    assert os.listdir(os.path.join(runs.workspace.data, "windows")) == ["by-hand"]
    assert os.listdir(os.path.join(runs.workspace.data, "listings")) == ["by-hand"]
    assert os.listdir(runs.workspace.reports) == ["2"]
    (log,) = os.listdir(runs.workspace.logs)
    assert Path(runs.workspace.logs, log).read_text() == "2"


def test_without_a_run_or_beside_one_there_is_nothing_to_collect(runs, tmp_path):
    result = CliRunner().invoke(main, ["gc", "--workspace", str(tmp_path / "none")])
    assert result.exit_code == 2 and f"no run in {tmp_path}/none yet" in result.stderr
    assert not (tmp_path / "none").exists()
    runs.run("1")
    with runs.workspace.writer("run"):
        result = runs.gc()
    assert (result.exit_code, "is in use by segpipe run" in result.stderr) == (1, True)
