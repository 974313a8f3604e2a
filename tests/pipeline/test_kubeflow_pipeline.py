"""What is compiled for Kubeflow says of each container what the config says, and nothing of this machine."""

import pytest
import yaml
from click.testing import CliRunner
from kubeflow_backend import said_once
from workbench import NODES

from components.errors import UsageError
from pipeline.cli import main
from pipeline.config import Config
from pipeline.kubeflow_pipeline import compile_to
from pipeline.remote_metadata import PASSWORD


def compiled(folder, **sections) -> tuple[dict, dict]:
    """The pipeline's specification and the executors of its platform's."""
    path = folder / "pipeline.yaml"
    compile_to(Config.model_validate(sections), str(path))
    spec, platform = map(said_once, yaml.safe_load_all(path.read_text()))
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def containers(spec: dict) -> dict:
    return {
        label.removeprefix("exec-"): executor["container"]
        for label, executor in spec["deploymentSpec"]["executors"].items()
    }


def tasks_of(spec: dict) -> dict:
    """The tasks of the group that the exit handler follows."""
    (group,) = [component["dag"] for component in spec["components"].values() if "dag" in component]
    return group["tasks"]


def test_a_pipeline_compiles_without_a_project_of_ones_own(tmp_path):
    done = CliRunner().invoke(main, ["compile", "--engine", "kubeflow", "--output", str(tmp_path / "p.yaml")])
    assert done.exit_code == 0, done.output
    assert f"wrote {tmp_path / 'p.yaml'}, for source-" in done.output
    spec, _ = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    assert set(containers(spec)) == {name.lower() for name in NODES} | {"plan", "verdict", "report"}
    assert str(tmp_path) not in (tmp_path / "p.yaml").read_text()


def test_no_step_is_taken_from_kubeflows_cache_and_each_waits_for_what_it_reads(tmp_path):
    tasks = tasks_of(compiled(tmp_path)[0])
    assert all(task["cachingOptions"] == {} for task in tasks.values())
    assert set(tasks["verdict"]["dependentTasks"]) == {name.lower() for name in NODES}
    assert set(tasks["segmentationevaluator"]["dependentTasks"]) >= {"trainer", "latestblessedmodel", "modelcanary"}
    assert tasks["latestblessedmodel"]["dependentTasks"] == ["plan"]
    runs = [task["inputs"]["parameters"]["run"] for task in tasks.values()]
    assert runs == [{"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}] * len(runs)


def test_the_report_is_made_when_the_group_of_all_steps_has_ended_however_it_did(tmp_path):
    tasks = compiled(tmp_path)[0]["root"]["dag"]["tasks"]
    report = tasks.pop("report")
    assert report["dependentTasks"] == list(tasks)
    assert report["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert report["retryPolicy"]["maxRetryCount"] == 2 and report["cachingOptions"] == {}


def test_what_the_verdict_says_is_not_asked_for_again(tmp_path):
    assert "retryPolicy" not in tasks_of(compiled(tmp_path)[0])["verdict"]


def test_a_container_gets_what_all_get_but_for_what_differs(tmp_path):
    spec, platform = compiled(
        tmp_path,
        kubeflow={
            "image": "registry.test/own:7",
            "step": {"memory": "4Gi", "retries": 1},
            "steps": {
                "Trainer": {
                    "cpu": "8",
                    "memory": "32Gi",
                    "accelerator": "nvidia.com/gpu",
                    "node_selector": {"gpu": "a100"},
                    "retries": 0,
                }
            },
        },
    )
    found = containers(spec)
    assert {container["image"] for container in found.values()} == {"registry.test/own:7"}
    assert found["transform"]["resources"] == {"memoryLimit": 4.294967296}
    assert found["trainer"]["resources"] == {
        "cpuLimit": 8.0,
        "memoryLimit": 34.359738368,
        "accelerator": {"count": "1", "type": "nvidia.com/gpu"},
    }
    tasks = tasks_of(spec)
    assert tasks["transform"]["retryPolicy"]["maxRetryCount"] == 1
    assert "retryPolicy" not in tasks["trainer"]
    assert platform["exec-trainer"]["nodeSelector"] == {"labels": {"gpu": "a100"}}
    assert "nodeSelector" not in platform["exec-transform"]


def test_every_container_mounts_the_volumes_and_gets_the_password_from_a_secret(tmp_path):
    secret = {"name": "database", "key": "word"}
    spec, platform = compiled(
        tmp_path,
        kubeflow={
            "root": "/shared/work",
            "volumes": [{"claim": "photos", "path": "/shared"}],
            "metadata": {"host": "db", "user": "me", "database": "own", "password": secret},
        },
    )
    assert set(platform) == set(spec["deploymentSpec"]["executors"])
    for executor in platform.values():
        assert executor["pvcMount"] == [{"constant": "photos", "mountPath": "/shared"}]
        keys = [{"secretKey": "word", "envVar": PASSWORD}]
        assert executor["secretAsEnv"] == [{"secretName": "database", "keyToEnv": keys}]
    assert all("mysql://me@db:3306/own" in container["args"] for container in containers(spec).values())


def test_a_root_on_s3_needs_no_volume_and_the_credentials_come_from_a_secret(tmp_path):
    s3 = {"endpoint": "http://minio:9000", "region": "eu-west-1", "credentials": "bucket-keys"}
    spec, platform = compiled(tmp_path, kubeflow={"root": "s3://pets/segpipe", "s3": s3})
    variables = {"AWS_ENDPOINT_URL_S3": "http://minio:9000", "AWS_DEFAULT_REGION": "eu-west-1"}
    for label, container in containers(spec).items():
        assert {variable["name"]: variable["value"] for variable in container["env"]} == variables
        assert container["args"][:2] == ["--root", "s3://pets/segpipe"]
        executor = platform[f"exec-{label}"]
        assert "pvcMount" not in executor
        secrets = {
            entry["secretName"]: [key["envVar"] for key in entry["keyToEnv"]] for entry in executor["secretAsEnv"]
        }
        assert secrets["bucket-keys"] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def test_a_root_in_a_bucket_takes_the_account_of_the_pod_where_no_secret_is_named(tmp_path):
    for root in ("s3://pets/segpipe", "gs://pets/segpipe"):
        spec, platform = compiled(tmp_path, kubeflow={"root": root})
        assert all("env" not in container and root in container["args"] for container in containers(spec).values())
        assert all(executor.keys() == {"secretAsEnv"} for executor in platform.values()), "ML Metadata's alone"


def test_volumes_that_are_named_are_mounted_beside_a_bucket(tmp_path):
    volume = {"claim": "scratch", "path": "/tmp/segpipe"}
    _, platform = compiled(tmp_path, kubeflow={"root": "gs://pets/segpipe", "volumes": [volume]})
    assert all(executor["pvcMount"][0]["mountPath"] == "/tmp/segpipe" for executor in platform.values())


def test_a_runner_whose_workers_do_not_see_the_copy_of_a_bucket_is_refused(tmp_path):
    flink = {"runner": "FlinkRunner", "flink_master": "flink:8081", "environment_config": "registry.test/own:7"}
    with pytest.raises(UsageError, match="^beam: Transform runs on FlinkRunner, whose workers do not see the files of"):
        compiled(tmp_path, kubeflow={"root": "s3://pets/segpipe"}, beam={"nodes": {"Transform": flink}})


def test_the_clusters_metadata_service_needs_no_password(tmp_path):
    spec, platform = compiled(tmp_path, kubeflow={"metadata": {"kind": "grpc", "host": "metadata-grpc-service"}})
    assert "grpc://metadata-grpc-service:8080" in containers(spec)["trainer"]["args"]
    assert all("secretAsEnv" not in executor for executor in platform.values())


def test_a_warm_start_and_a_golden_span_have_their_steps(tmp_path):
    spec, _ = compiled(tmp_path, training={"warm_start": True}, data={"golden_span": 1})
    assert {"basemodel", "goldenexamples", "goldenevaluator"} <= set(containers(spec))


@pytest.mark.parametrize(
    "kubeflow, sentence",
    [
        ({"steps": {"Traner": {}}}, r"kubeflow.steps: 'Traner' is none of the steps Plan, .*Trainer.*, Report"),
    ],
)
def test_a_step_that_is_not_there_is_refused(tmp_path, kubeflow, sentence):
    with pytest.raises(UsageError, match=sentence):
        compiled(tmp_path, kubeflow=kubeflow)


def test_a_config_too_long_for_an_argument_is_refused(tmp_path):
    with pytest.raises(UsageError, match="the config is longer than the 102400 bytes that a container can be told"):
        compiled(tmp_path, beam={"default": {"arguments": ["--labels=" + "x" * 200_000]}})


def test_a_file_that_kubeflow_cannot_write_is_refused(tmp_path):
    with pytest.raises(UsageError, match="let the name end in .yaml"):
        compile_to(Config(), str(tmp_path / "pipeline.json"))
