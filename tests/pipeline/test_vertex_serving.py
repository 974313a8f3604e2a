"""The container that serves a version on an endpoint: what the registry is told of it, how it gets its model, and that
it answers."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from drawing import encoded, write_brightness_model
from served import ask, eventually
from tensorflow_serving_client import b64
from trainer_helpers import SPEC
from vertex_service import VertexService, settings_of, vertex_service

from components.errors import SegpipeError
from pipeline.vertex_registry import register
from pipeline.vertex_serving import PORT, STORAGE, download, serving_container

MODEL = {"saved_model.pb": b"graph", "variables/variables.index": b"index", "fingerprint.pb": b""}


@pytest.fixture
def service(tmp_path, monkeypatch):
    for name, content in MODEL.items():
        path = tmp_path / "pets-bucket/model/1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "pets-bucket/model/10").write_text("another")
    with vertex_service(tmp_path) as service:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.url)
        yield service


def test_a_version_is_served_by_the_image_that_trained_it_unless_the_config_names_one(service: VertexService):
    container = serving_container(settings_of(service, registry={}), "1700000001")
    assert container["serving_container_image_uri"] == "registry/segpipe:1"
    assert container["serving_container_command"] == ["python", "-m", "pipeline.vertex_serving"]
    named = serving_container(settings_of(service, registry={"image": "registry/serving:2"}), "1700000001")
    assert named == {"serving_container_image_uri": "registry/serving:2"}


@pytest.mark.parametrize("end", ["", "/"])
def test_the_whole_model_is_copied_and_nothing_else(service, tmp_path, end):
    copy = tmp_path / "copy"
    download(f"gs://pets-bucket/model/1{end}", copy)
    assert {str(path.relative_to(copy)): path.read_bytes() for path in copy.rglob("*") if path.is_file()} == MODEL


def test_an_address_without_a_model_is_told(service, tmp_path):
    with pytest.raises(SegpipeError, match="gs://pets-bucket/model/2: holds no model; register the version again"):
        download("gs://pets-bucket/model/2", tmp_path / "copy")


def test_the_container_that_an_endpoint_starts_answers_with_the_registered_version(service, tmp_path):
    """Its command, variables, port and routes are those of the registry; AIP_... are what Vertex AI adds."""
    write_brightness_model(tmp_path / "pets-bucket/segpipe/serving_model/1700000001", SPEC)
    register(settings_of(service, registry={}), "pets", "1700000001")
    ((model,),) = service.models.values()
    container = model.container_spec
    program, *command = container.command
    (listens,) = container.ports
    assert (program, container.image_uri, listens.container_port) == ("python", "registry/segpipe:1", 8080)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = {variable.name: variable.value for variable in container.env}
    environment = os.environ | given | {STORAGE: model.artifact_uri, PORT: port}
    process = subprocess.Popen([sys.executable, *command], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: process.poll() is not None or is_ready(url + container.health_route), "it is ready")
        photo = encoded(np.full([20, 30, 3], 230, np.uint8), "JPEG")
        answer = ask(url + container.predict_route, json.dumps({"instances": [b64(photo)]}).encode())
        (prediction,) = answer.json["predictions"]
        assert set(np.unique(prediction["mask"])) == {SPEC.num_classes - 1}, "the brightest class"
        (status,) = ask(url + "/v1/models/segpipe").json["model_version_status"]
        assert status["version"] == "1700000001"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()


def is_ready(url: str) -> bool:
    try:
        return ask(url).status == 200
    except OSError:
        return False
