"""A pushed model becomes one version in the model registry, through Google's own client."""

import json

import pytest
from api_server import Failure
from tfx.types import standard_artifacts
from vertex_service import PARENT, settings_of, vertex_service

from pipeline import remote_calls
from pipeline.config import Config
from pipeline.vertex_registry import LABEL, RESOURCE, Executor, register
from pipeline.vertex_runner import compile_job, tasks_of
from pipeline.vertex_settings import VertexSettings

ROOT = "gs://pets-bucket/segpipe"
MODEL = f"{PARENT}/models/pets"


@pytest.fixture
def service(tmp_path, monkeypatch):
    for version in ("1700000001", "1700000002"):
        folder = tmp_path / "pets-bucket/segpipe/serving_model" / version
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    monkeypatch.setattr(remote_calls, "PAUSES", (0.0, 0.0))
    with vertex_service(tmp_path) as service:
        yield service


@pytest.fixture
def settings(service) -> VertexSettings:
    return settings_of(service, registry={"image": "registry/serving:2"})


@pytest.mark.parametrize("looks", [0, 1])
def test_the_first_version_makes_the_model_and_the_next_is_a_version_of_it(service, settings, looks):
    service.operations.looks = looks
    assert register(settings, "pets", "1700000001") == f"{MODEL}@1"
    assert register(settings, "pets", "1700000002") == f"{MODEL}@2"
    first, second = service.models[MODEL]
    assert first.artifact_uri == f"{ROOT}/serving_model/1700000001"
    assert first.container_spec.image_uri == "registry/serving:2"
    assert dict(second.labels) == {"team": "vision", LABEL: "1700000002"}
    assert "default" in second.version_aliases


def test_a_version_is_registered_once(service, settings):
    service.failures["UploadModel"] = [Failure(503, after=True)]
    assert register(settings, "pets", "1700000001") == f"{MODEL}@1"
    assert register(settings, "pets", "1700000001") == f"{MODEL}@1"
    assert len(service.models[MODEL]) == 1


@pytest.mark.parametrize("pushed, resource", [(1, f"{MODEL}@1"), (0, "")])
def test_the_node_registers_what_was_pushed_alone(service, settings, pushed, resource):
    config = Config.model_validate({"pipeline_name": "pets", "vertex": settings.model_dump()})
    node = tasks_of(compile_job(config))["VertexRegistry"]
    constants = {name: value["runtimeValue"]["constant"] for name, value in node["inputs"]["parameters"].items()}
    assert "gs://" not in json.dumps(constants)
    model, registered = standard_artifacts.PushedModel(), standard_artifacts.PushedModel()
    model.set_int_custom_property("pushed", pushed)
    model.set_string_custom_property("pushed_version", "1700000001" if pushed else "")
    Executor().Do({"pushed_model": [model]}, {"registered_model": [registered]}, constants)
    assert registered.get_string_custom_property(RESOURCE) == resource
    assert bool(service.models) == bool(pushed)


def test_without_the_section_there_is_no_such_node():
    tasks = tasks_of(compile_job(Config()))
    assert "AtomicPusher" in tasks and "VertexRegistry" not in tasks
