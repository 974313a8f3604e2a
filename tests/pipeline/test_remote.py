"""What a run reads is copied to a root once, and reads from wherever the root is seen."""

import shutil
from pathlib import Path

import pytest
from manifests import source, write_span

from components.anomaly_gate.comparisons import read_comparisons
from components.errors import UsageError
from components.example_gen.window import read_window
from components.ingest.spans import Manifest, read_record, write_record
from pipeline.config import Config
from pipeline.remote import upload_inputs
from pipeline.workspace import Workspace


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace.at(str(tmp_path / "workspace"))
    for number in (1, 2, 3):
        write_span(workspace, number, Config(), sources={f"{number}a": "train", f"{number}b": "eval"})
    return workspace


def test_lists_read_wherever_the_root_is_mounted(workspace, tmp_path):
    paths = upload_inputs(Config(), workspace, str(tmp_path / "root"), window=2)
    shutil.rmtree(workspace.root)
    mount = shutil.move(tmp_path / "root", tmp_path / "elsewhere")
    window = read_window(f"{mount}/{paths['window']}")
    assert [span.folder for span in window.spans] == [f"{mount}/data/span-2", f"{mount}/data/span-3"]
    pairs = read_comparisons(f"{mount}/{paths['comparisons']}")
    assert [(pair.span.number, pair.previous.number) for pair in pairs] == [(2, 1), (3, 2)]
    assert Path(mount, paths["schema"]).read_text()
    assert "golden" not in paths


def test_a_second_upload_copies_nothing(workspace, tmp_path):
    root = tmp_path / "root"
    first = upload_inputs(Config(), workspace, str(root))
    written = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert upload_inputs(Config(), workspace, str(root)) == first
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == written


def test_another_span_of_the_number_at_the_root_is_refused(workspace, tmp_path):
    root = tmp_path / "root"
    upload_inputs(Config(), workspace, str(root))
    manifest = root / "data" / "span-3" / "manifest.json"
    changed = read_record(str(manifest), Manifest)
    write_record(str(manifest), changed.model_copy(update={"files_ignored": 7}))
    with pytest.raises(UsageError, match="is another span 3 than that of"):
        upload_inputs(Config(), workspace, str(root))


def test_a_photo_that_the_model_of_the_root_may_have_learnt_may_not_evaluate(workspace, tmp_path):
    path = f"{workspace.data}/span-3/manifest.json"
    manifest = read_record(path, Manifest)
    write_record(path, manifest.model_copy(update={"sources": [source("1a", "eval")]}))
    with pytest.raises(UsageError, match="span 1: training photo 1a.jpg is evaluation photo 1a.jpg of span 3"):
        upload_inputs(Config(), workspace, str(tmp_path / "root"), window=1)
    assert not (tmp_path / "root").exists()
