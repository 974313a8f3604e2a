"""What batch inference asks which model about, decided before TFX is imported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from drawing import pet, save, write_pets

from components.errors import UsageError
from components.ingest.ingest import ingest
from components.pusher.versions import publish
from pipeline.config import Config
from pipeline.inference import plan_inference
from pipeline.workspace import Workspace


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """One span, one published model and its artifact."""
    workspace = Workspace.at(str(tmp_path / "workspace"))
    config = Config()
    source = write_pets(tmp_path / "pets", ["pug_1", "pug_2"], ["pug_3"])
    trimaps, lists = str(source / "annotations" / "trimaps"), str(source / "annotations")
    ingest(workspace.data, str(source / "images"), trimaps, config.features, config.data, lists)
    artifact = tmp_path / "workspace" / "pipeline_root" / "Trainer" / "model" / "7"
    save(artifact / "Format-Serving" / "saved_model.pb", b"net")
    publish(str(artifact / "Format-Serving"), workspace.serving, str(artifact))
    return workspace


def test_a_span_is_asked_about_with_the_model_behind_the_live_version(workspace):
    request = plan_inference(Config(), workspace, 1, None)
    assert request.source == "span 1" and request.listing is None
    assert json.loads(Path(request.window).read_text())["spans"][0]["number"] == 1
    assert request.model.endswith("pipeline_root/Trainer/model/7")
    assert plan_inference(Config(), workspace, 1, None) == request


def test_after_a_rollback_the_version_is_the_new_one_and_the_model_the_old(workspace, tmp_path):
    first = plan_inference(Config(), workspace, 1, None)
    other = tmp_path / "workspace" / "pipeline_root" / "Trainer" / "model" / "8"
    save(other / "Format-Serving" / "saved_model.pb", b"net")
    publish(str(other / "Format-Serving"), workspace.serving, str(other))
    assert plan_inference(Config(), workspace, 1, None).model == str(other)
    publish(first.model + "/Format-Serving", workspace.serving, first.model)
    again = plan_inference(Config(), workspace, 1, None)
    assert again.model == first.model and again.version > first.version


def test_a_folder_is_listed_with_the_limit_of_the_config(workspace, tmp_path):
    save(tmp_path / "photos" / "a.jpg", pet()[0])
    request = plan_inference(Config(), workspace, None, str(tmp_path / "photos"))
    assert request.source == str(tmp_path / "photos") and request.window is None
    assert json.loads(Path(request.listing).read_text())["max_pixels"] == Config().data.max_pixels


@pytest.mark.parametrize(
    "span, images, problem",
    [
        (None, None, "give either --span N or --images DIR"),
        (1, "photos", "give either --span N or --images DIR"),
        (2, None, r"span 2: not in .* \(spans there: 1\)"),
        (None, "missing", "no such folder"),
    ],
)
def test_what_cannot_be_asked_about_is_refused(workspace, span, images, problem):
    with pytest.raises(UsageError, match=problem):
        plan_inference(Config(), workspace, span, images)


def test_a_workspace_without_a_model_says_how_to_get_one(tmp_path):
    with pytest.raises(UsageError, match="holds no model; run segpipe run --workspace"):
        plan_inference(Config(), Workspace.at(str(tmp_path)), 1, None)


def test_a_model_whose_artifact_was_deleted_is_named(workspace, tmp_path):
    shutil.rmtree(tmp_path / "workspace" / "pipeline_root")
    with pytest.raises(UsageError, match="Trainer/model/7.* is gone; push a new one with segpipe run"):
        plan_inference(Config(), workspace, 1, None)


def test_planning_needs_neither_tensorflow_nor_tfx():
    program = "import sys, pipeline.inference; assert not {'tensorflow', 'tfx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
