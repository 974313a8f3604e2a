"""A registered version is deployed to an endpoint, once, and what served before is taken down, through Google's own
client."""

import itertools
import json

import pytest
from api_server import Failure
from google.cloud.aiplatform_v1 import types
from tfx.types import standard_artifacts
from vertex_service import PARENT, settings_of, vertex_service

from components.errors import SegpipeError
from pipeline import remote_calls, vertex_endpoint
from pipeline.config import Config, load_config
from pipeline.vertex_endpoint import ENDPOINT, Executor, deploy
from pipeline.vertex_registry import RESOURCE, VERSION, register
from pipeline.vertex_runner import compile_job, tasks_of
from pipeline.vertex_settings import VertexSettings

NAME = f"{PARENT}/endpoints/pets-live"
MACHINE = {"endpoint": "pets-live", "machine_type": "n1-standard-4"}
VERSIONS = [str(1_700_000_000 + number) for number in range(1, 5)]


@pytest.fixture
def service(tmp_path, monkeypatch):
    for version in VERSIONS:
        folder = tmp_path / "pets-bucket/segpipe/serving_model" / version
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    monkeypatch.setattr(remote_calls, "PAUSES", (0.0,) * 4)
    monkeypatch.setattr(vertex_endpoint, "pauses", lambda: itertools.repeat(0.0))
    with vertex_service(tmp_path) as service:
        yield service


def settings(service, **deploy: object) -> VertexSettings:
    return settings_of(service, registry={"deploy": MACHINE | deploy})


def push(service, version: str, **deploying: object) -> str:
    """What the two nodes do with a pushed version."""
    section = settings(service, **deploying)
    return deploy(section, register(section, "pets", version), version)


def traffic(service) -> dict[str, int]:
    """Percent of the requests for each version that is deployed."""
    endpoint = service.endpoints.held[NAME]
    return {model.id: endpoint.traffic_split.get(model.id, 0) for model in endpoint.deployed_models}


@pytest.mark.parametrize("looks", [0, 2])
def test_the_endpoint_is_made_once_and_serves_the_newest_version_alone(service, looks):
    service.operations.looks = looks
    assert push(service, VERSIONS[0]) == NAME
    assert traffic(service) == {VERSIONS[0]: 100}
    assert push(service, VERSIONS[1]) == NAME
    assert traffic(service) == {VERSIONS[1]: 100}
    (made,) = service.asked("CreateEndpoint")
    assert (made.endpoint.display_name, dict(made.endpoint.labels)) == ("pets-live", {"team": "vision"})
    # What served before is there until the new one serves.
    changes = [method for method, _ in service.calls if method in ("DeployModel", "UndeployModel")]
    assert changes == ["DeployModel", "DeployModel", "UndeployModel"]


def test_a_version_gets_the_machines_of_the_config(service):
    machines = {"min_replicas": 2, "max_replicas": 5, "accelerator": "NVIDIA_TESLA_T4", "accelerators": 2}
    push(service, VERSIONS[0], **machines)
    (model,) = service.endpoints.held[NAME].deployed_models
    assert (model.id, model.display_name, model.model_version_id) == (VERSIONS[0], f"pets-{VERSIONS[0]}", "1")
    resources = model.dedicated_resources
    assert (resources.min_replica_count, resources.max_replica_count) == (2, 5)
    machine = resources.machine_spec
    accelerator = types.AcceleratorType(machine.accelerator_type).name
    assert (machine.machine_type, accelerator, machine.accelerator_count) == ("n1-standard-4", "NVIDIA_TESLA_T4", 2)


def test_a_canary_gets_its_share_and_the_next_one_takes_its_place(service):
    push(service, VERSIONS[0], traffic=10)
    assert traffic(service) == {VERSIONS[0]: 100}
    push(service, VERSIONS[1], traffic=10)
    assert traffic(service) == {VERSIONS[0]: 90, VERSIONS[1]: 10}
    push(service, VERSIONS[2], traffic=10)
    assert traffic(service) == {VERSIONS[0]: 90, VERSIONS[2]: 10}


def test_the_newest_versions_without_traffic_stay_if_they_are_to_be_kept(service):
    for version in VERSIONS:
        push(service, version, keep=2)
    assert traffic(service) == {VERSIONS[1]: 0, VERSIONS[2]: 0, VERSIONS[3]: 100}


def test_a_second_try_leaves_the_traffic_where_somebody_put_it(service):
    push(service, VERSIONS[0])
    push(service, VERSIONS[1], keep=1)
    service.endpoints.held[NAME].traffic_split = {VERSIONS[0]: 100}
    push(service, VERSIONS[1])
    assert traffic(service) == {VERSIONS[0]: 100, VERSIONS[1]: 0}
    push(service, VERSIONS[2])
    assert traffic(service) == {VERSIONS[2]: 100}


def test_what_another_model_has_on_the_endpoint_stays(service):
    push(service, VERSIONS[0])
    section = settings(service)
    deploy(section, register(section, "cars", VERSIONS[1]), VERSIONS[1])
    assert traffic(service) == {VERSIONS[0]: 0, VERSIONS[1]: 100}


@pytest.mark.parametrize("looks", [0, 2])
@pytest.mark.parametrize("method", ["CreateEndpoint", "DeployModel", "UndeployModel"])
def test_a_change_whose_answer_was_lost_is_not_made_twice(service, method, looks):
    """The service takes no second change while one runs, and the test ends with an error if there was one."""
    service.operations.looks = looks
    service.failures[method] = [Failure(503, after=True)]
    push(service, VERSIONS[0])
    push(service, VERSIONS[1])
    assert traffic(service) == {VERSIONS[1]: 100}
    assert len(service.asked("DeployModel")) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(service, status):
    for method in ("GetEndpoint", "CreateEndpoint", "DeployModel", "GetOperation", "ListOperations"):
        service.failures[method] = [Failure(status)]
    service.operations.looks = 1
    push(service, VERSIONS[0])
    assert traffic(service) == {VERSIONS[0]: 100}


@pytest.mark.parametrize(
    "failure, told",
    [
        (Failure(403, "no aiplatform.endpoints.deploy"), r"refuses this account \(403: no aiplatform.endpoints.deploy"),
        (Failure(429, "Quota exceeded"), r"takes no more now \(429: Quota exceeded\), tried 5 times"),
        (Failure(400, "Unknown machine"), r"does not take this \(400: Unknown machine\); mend what it names"),
    ],
)
def test_what_stays_is_one_sentence_and_what_served_goes_on(service, failure, told):
    push(service, VERSIONS[0])
    service.failures["DeployModel"] = [failure] * 5
    with pytest.raises(SegpipeError, match=told):
        push(service, VERSIONS[1])
    assert traffic(service) == {VERSIONS[0]: 100}


def test_a_version_that_does_not_come_up_is_told_and_what_served_goes_on(service):
    push(service, VERSIONS[0])
    service.endpoints.failures = ["Model server exited unexpectedly."]
    told = f"endpoint pets-live does not serve version {VERSIONS[1]}: .*Model server exited unexpectedly"
    with pytest.raises(SegpipeError, match=told):
        push(service, VERSIONS[1])
    assert traffic(service) == {VERSIONS[0]: 100}


@pytest.mark.parametrize("pushed", [True, False])
def test_the_node_deploys_what_was_registered_alone(service, pushed):
    section = settings(service)
    node = tasks_of(compile_job(Config.model_validate({"vertex": section.model_dump()})))["VertexEndpoint"]
    assert node["inputs"]["artifacts"]["registered_model"]["taskOutputArtifact"]["producerTask"] == "VertexRegistry"
    constants = {name: value["runtimeValue"]["constant"] for name, value in node["inputs"]["parameters"].items()}
    assert "gs://" not in json.dumps(constants)
    registered, deployed = standard_artifacts.PushedModel(), standard_artifacts.PushedModel()
    registered.set_string_custom_property(RESOURCE, register(section, "pets", VERSIONS[0]) if pushed else "")
    registered.set_string_custom_property(VERSION, VERSIONS[0])
    Executor().Do({"registered_model": [registered]}, {"deployed_model": [deployed]}, constants)
    assert deployed.get_string_custom_property(ENDPOINT) == (NAME if pushed else "")
    assert set(service.endpoints.held) == ({NAME} if pushed else set())


@pytest.mark.parametrize(
    "deploying, told",
    [
        ({"endpoint": "Pets"}, "vertex.registry.deploy.endpoint"),
        ({"min_replicas": 3, "max_replicas": 2}, "max_replicas: 2 is below min_replicas, 3; raise it"),
        ({"traffic": 0}, "vertex.registry.deploy.traffic"),
    ],
)
def test_a_wrong_section_is_told(tmp_path, deploying, told):
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({"vertex": {"registry": {"deploy": MACHINE | deploying}}}))
    with pytest.raises(SegpipeError, match=told):
        load_config(str(path))


def test_without_the_section_there_is_no_such_node(service):
    tasks = tasks_of(compile_job(Config.model_validate({"vertex": settings_of(service, registry={}).model_dump()})))
    assert "VertexRegistry" in tasks and "VertexEndpoint" not in tasks
