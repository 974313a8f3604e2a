"""Kubernetes manifests and the compose file: their schemas take them, their references lead somewhere, and segpipe and
TensorFlow Serving take what is in them.
"""

import copy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from pipeline.cli_schedule import schedule
from pipeline.config import Config
from pipeline.cron import check_cron

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
MANIFESTS = [
    manifest for file in sorted(DEPLOY.glob("kubernetes/*.yaml")) for manifest in yaml.safe_load_all(file.read_text())
]
FROM_OUTSIDE = {("Secret", "segpipe-webhook")}
"""What nobody keeps in a repository; the manifest's head says how to make it."""


def named(kind: str, name: str) -> dict:
    (found,) = [m for m in MANIFESTS if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


DEPLOYMENT, CRON_JOB = named("Deployment", "segpipe-serving"), named("CronJob", "segpipe-schedule")
POD_OF_SERVING = DEPLOYMENT["spec"]["template"]
POD_OF_SCHEDULE = CRON_JOB["spec"]["jobTemplate"]["spec"]["template"]
PODS = {"serving": POD_OF_SERVING["spec"], "schedule": POD_OF_SCHEDULE["spec"]}


# podFailurePolicy is no preview any more since 1.31.
@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: f"{m['kind']} {m['metadata']['name']}")
def test_kubernetes_knows_every_field(manifest, version):
    kubernetes_validate.validate(manifest, version, strict=True)
    wrong = copy.deepcopy(manifest)
    wrong["metadata"]["lables"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def references(pod: dict) -> set[tuple[str, str]]:
    found = set()
    for volume in pod["volumes"]:
        if "configMap" in volume:
            found.add(("ConfigMap", volume["configMap"]["name"]))
        else:
            found.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    for source in pod["containers"][0].get("envFrom", []):
        found.add(("Secret", source["secretRef"]["name"]))
    return found


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_what_a_pod_refers_to_is_there_and_it_runs_without_rights(pod):
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in MANIFESTS}
    assert references(pod) <= there | FROM_OUTSIDE
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["securityContext"]["runAsNonRoot"] and not container["securityContext"]["allowPrivilegeEscalation"]


def test_the_service_and_the_probes_reach_the_server():
    labels = POD_OF_SERVING["metadata"]["labels"]
    service = named("Service", "segpipe-serving")["spec"]
    assert service["selector"].items() <= labels.items()
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = PODS["serving"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports
    assert container["readinessProbe"]["httpGet"] == {"path": "/v1/models/segpipe", "port": "rest"}


def test_tensorflow_serving_takes_the_version_policy_of_the_folder_that_the_workspace_has():
    (container,) = PODS["serving"]["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert "--model_config_file=/config/models.config" in container["args"]
    text = named("ConfigMap", "segpipe-models")["data"]["models.config"]
    (model,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (model.name, model.model_version_policy.latest.num_versions) == ("segpipe", 2)
    assert mounts[model.base_path]["subPath"] == "serving_model"


def test_the_cron_job_calls_one_retraining_and_never_repeats_a_refusal():
    spec = CRON_JOB["spec"]
    assert check_cron(spec["schedule"]) and spec["concurrencyPolicy"] == "Forbid"
    never = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]
    assert (never["action"], never["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    (container,) = PODS["schedule"]["containers"]
    assert never["onExitCodes"]["containerName"] == container["name"]
    program, name, *options = container["command"]
    assert (program, name) == ("segpipe", "schedule")
    given = schedule.make_context("schedule", [option.replace("$$", "$") for option in options]).params
    assert given["once"] and given["webhook"] == "https://hooks.example/services/${HOOK_TOKEN}"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    paths = [given["config_path"], given["images"], given["masks"], str(given["workspace"])]
    assert all("/" + path.split("/")[1] in mounts for path in paths[:3]) and "/workspace" in mounts


def test_the_config_of_the_cron_job_is_one():
    config = Config.model_validate(yaml.safe_load(named("ConfigMap", "segpipe-config")["data"]["own.yaml"]))
    assert (config.data.window, config.serving.keep) == (8, 5)


def test_compose_serves_the_folder_that_make_run_leaves_on_this_machine_alone():
    text = COMPOSE.read_text()
    compose = PyCompose.from_yaml(text)
    compose.validate()
    assert compose.service_names() == ["serving"]
    service = yaml.safe_load(text)["services"]["serving"]
    (volume,) = service["volumes"]
    assert (COMPOSE.parent / volume["source"]).resolve() == DEPLOY.parent / "workspace" / "serving_model"
    assert volume["target"] == f"/models/{service['environment']['MODEL_NAME']}" and volume["read_only"]
    assert service["ports"] == ["127.0.0.1:8501:8501"]
    assert service["image"] == PODS["serving"]["containers"][0]["image"]


def test_a_field_that_compose_does_not_know_is_noticed():
    with pytest.raises(ValueError, match="restrat"):
        PyCompose.from_yaml(COMPOSE.read_text().replace("restart:", "restrat:"))
