"""Files that others may have written run no code: YAML, checkpoints, and models from outside of the workspace."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from drawing import pet, save, write_brightness_model, write_pair

from components.errors import UsageError
from components.pusher.versions import PUSHED, publish
from pipeline.cli import main
from pipeline.config import Config, load_config
from pipeline.tuning import with_tuned
from pipeline.workspace import Workspace
from trainer.features import FeatureSpec

REPOSITORY = Path(__file__).parents[1]

CODE = [
    "!!python/object/apply:os.mkdir [{path}]",
    "!!python/object/new:os.mkdir [{path}]",
    "!!python/object/apply:subprocess.check_call [[mkdir, {path}]]",
    "!!python/name:os.mkdir",
    "!!python/module:antigravity",
    "&a !!python/object:object {{}}",
]


@pytest.mark.parametrize("form", CODE, ids=[form.split()[0] for form in CODE])
def test_yaml_that_asks_for_python_is_refused_and_nothing_runs(tmp_path, form):
    path = tmp_path / "ran"
    config, tuned = tmp_path / "own.yaml", Workspace.at(str(tmp_path))
    for place in ("{}", "features: {}", "training: {{steps: {}}}"):
        text = place.format(form.format(path=path))
        config.write_text(text)
        with pytest.raises(UsageError, match="is no YAML"):
            load_config(str(config))
        Path(tuned.tuned).write_text(text)
        with pytest.raises(UsageError, match="run segpipe tune again"):
            with_tuned(Config(), tuned)
    assert not path.exists() and "antigravity" not in sys.modules


class MakesFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


def test_a_checkpoint_with_a_pickled_object_is_not_used_and_nothing_runs(tmp_path):
    import keras

    from trainer.checkpoint import Checkpoint, Progress

    variable = keras.Variable(np.zeros(2, np.float32))
    checkpoint = Checkpoint(str(tmp_path), "key", seconds=1)
    checkpoint.save([variable], Progress(steps=5, step=2))
    (path,) = tmp_path.glob("*.npz")
    evil = io.BytesIO()
    np.save(evil, np.array([MakesFolder(tmp_path / "ran")], object), allow_pickle=True)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    for name in members:
        with zipfile.ZipFile(path, "w") as file:
            for other, content in members.items():
                file.writestr(other, evil.getvalue() if other == name else content)
        assert checkpoint.restore([variable]) is None, name
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "source, rule",
    [
        ("import yaml\nyaml.load(open('a'), Loader=yaml.Loader)\n", "S506"),
        ("import pickle\npickle.load(open('a', 'rb'))\n", "S301"),
        ("import marshal\nmarshal.loads(b'')\n", "S302"),
        ("import dill\ndill.loads(b'')\n", "S301"),
        ("eval(input())\n", "S307"),
        ("import tarfile\ntarfile.open('a').extractall()\n", "S202"),
        ("import subprocess\nsubprocess.run('a b', shell=True)\n", "S602"),
        ("import requests\nrequests.get('https://a', verify=False, timeout=1)\n", "S501"),
    ],
)
def test_lint_lets_nothing_in_that_runs_what_it_reads(source, rule):
    command = [str(Path(sys.executable).parent / "ruff"), "check", "--stdin-filename", "components/new.py", "-"]
    done = subprocess.run(command, input=source, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and rule in done.stdout, done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_brightness_model(tmp_path_factory.mktemp("elsewhere") / "model", FeatureSpec(height=32, width=48))


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    write_pair(tmp_path / "pets", "pug_1")
    save(tmp_path / "photo.jpg", pet()[0])
    workspace = Workspace.at(str(tmp_path / "workspace"))
    os.makedirs(workspace.serving)
    return workspace


def commands(tmp_path: Path) -> dict[str, list[str]]:
    """Every command that loads a model of the serving folder."""
    pets = tmp_path / "pets"
    return {
        "predict": ["predict", str(tmp_path / "photo.jpg"), "--output", str(tmp_path / "out")],
        "evaluate": ["evaluate", "--images", str(pets / "images"), "--masks", str(pets / "annotations" / "trimaps")],
        "infer": ["infer", "--images", str(pets / "images"), "--output", str(tmp_path / "out")],
    }


def _whole_version(serving: str, model: Path) -> str:
    os.symlink(model, os.path.join(serving, "17"))
    return f"{serving}/17: is a link to {model}"


def _file_of_it(serving: str, model: Path) -> str:
    version = publish(str(model), serving, "/root/model")
    path = os.path.join(serving, str(version), "saved_model.pb")
    os.remove(path)
    os.symlink(model / "saved_model.pb", path)
    return f"{path}: is a link to {model}/saved_model.pb"


def _folder_of_it(serving: str, model: Path) -> str:
    version = publish(str(model), serving, "/root/model")
    path = os.path.join(serving, str(version), "variables")
    shutil.rmtree(path)
    os.symlink(model / "variables", path)
    return f"{path}: is a link to {model}/variables"


@pytest.mark.parametrize("command", ["predict", "evaluate", "infer"])
@pytest.mark.parametrize("link", [_whole_version, _file_of_it, _folder_of_it])
def test_a_model_that_a_link_brings_in_is_not_loaded(workspace, tmp_path, model, command, link):
    said = link(workspace.serving, model)
    result = CliRunner().invoke(main, [*commands(tmp_path)[command], "--workspace", workspace.root])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert result.stderr.startswith(f"segpipe: {said}, and only files that were pushed are loaded; remove the link")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("link", [_whole_version, _file_of_it, _folder_of_it])
def test_the_server_does_not_load_it_either(workspace, model, link):
    from components.serving.loaded_model import LoadedModel

    said = link(workspace.serving, model)
    (version,) = os.listdir(workspace.serving)
    with pytest.raises(UsageError, match=f"^{said}, and only files that were pushed are loaded"):
        LoadedModel(workspace.serving, int(version))


@pytest.mark.parametrize("path", ["{model}", "{root}/pipeline_root/../../elsewhere", "/"])
def test_inference_takes_no_model_that_a_version_names_outside_of_the_workspace(workspace, tmp_path, model, path):
    version = publish(str(model), workspace.serving, "/root/model")
    shutil.copytree(model, tmp_path / "elsewhere")
    os.mkdir(workspace.pipeline_root)
    named = path.format(model=model, root=workspace.root)
    record = Path(workspace.serving, str(version), PUSHED)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"origin": named}))
    result = CliRunner().invoke(main, [*commands(tmp_path)["infer"], "--workspace", workspace.root])
    assert result.exit_code == 2
    assert f"says that it was copied from {named}, outside of {workspace.pipeline_root}" in result.stderr


def test_a_serving_folder_that_is_a_link_itself_is_the_owners_choice(workspace, tmp_path, model):
    os.rmdir(workspace.serving)
    (tmp_path / "disk").mkdir()
    os.symlink(tmp_path / "disk", workspace.serving)
    publish(str(model), workspace.serving, "/root/model")
    result = CliRunner().invoke(main, [*commands(tmp_path)["predict"], "--workspace", workspace.root])
    assert (result.exit_code, os.listdir(tmp_path / "out" / "masks")) == (0, ["photo.png"])
