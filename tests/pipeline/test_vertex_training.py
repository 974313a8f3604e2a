"""The Trainer's container hands its command to a custom job of Vertex AI Training, through Google's own client."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from api_server import Failure
from google.cloud.aiplatform_v1 import types
from vertex_service import PARENT, settings_of, vertex_service

from components.errors import SegpipeError, UsageError
from pipeline import remote_calls
from pipeline.config import Config
from pipeline.vertex_runner import compile_job
from pipeline.vertex_settings import VertexSettings
from pipeline.vertex_training import train, training_command

OUTPUT = "gs://pets-bucket/segpipe/pipeline_root/123456/segpipe-1/Trainer_7/executor_output.json"
ARGUMENTS = [
    "--executor_class_path",
    "x",
    "--json_serialized_invocation_args",
    json.dumps({"outputs": {"outputFile": OUTPUT}}),
]
JOB = f"{PARENT}/customJobs/1"


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_calls, "PAUSES", (0.0, 0.0))
    with vertex_service(tmp_path) as service:
        yield service


@pytest.fixture
def settings(service) -> VertexSettings:
    return settings_of(
        service, training={"machine_type": "n1-standard-8", "accelerator": "NVIDIA_TESLA_T4", "accelerators": 2}
    )


def test_the_job_runs_the_command_of_the_container_on_the_machine_of_the_config(service, settings):
    train(settings, ARGUMENTS)
    job = service.trainings[JOB]
    (workers,) = job.job_spec.worker_pool_specs
    assert (job.display_name, dict(job.labels)) == ("segpipe-1-Trainer_7", {"team": "vision"})
    assert job.job_spec.service_account == settings.service_account
    machine = workers.machine_spec
    accelerator = types.AcceleratorType(machine.accelerator_type).name
    assert (machine.machine_type, accelerator, machine.accelerator_count) == ("n1-standard-8", "NVIDIA_TESLA_T4", 2)
    container = workers.container_spec
    assert (container.image_uri, list(container.command)) == (settings.image, ["python", "-m", "pipeline.vertex_step"])
    assert list(container.args) == ARGUMENTS


def test_a_training_whose_answer_was_lost_is_not_started_twice(service, settings):
    service.failures["CreateCustomJob"] = [Failure(503, after=True)]
    train(settings, ARGUMENTS)
    assert list(service.trainings) == [JOB]


def test_a_training_that_fails_is_told(service, settings):
    service.train = lambda job: lambda: 1
    with pytest.raises(SegpipeError, match=f"{JOB} ended as JOB_STATE_FAILED: non-zero status of 1; its log says why"):
        train(settings, ARGUMENTS)


def test_a_container_that_is_stopped_cancels_its_training(service, settings):
    service.train = lambda job: lambda: None
    command = [sys.executable, *training_command(settings)[1:], *ARGUMENTS]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True)
    try:
        assert running.stdout.readline() == f"training in {JOB}\n"
        while "GetCustomJob" not in service.tried:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        running.kill()
    assert service.trainings[JOB].state.name == "JOB_STATE_CANCELLED"


def test_the_trainer_alone_has_that_command(settings):
    config = Config.model_validate({"vertex": settings.model_dump()})
    executors = compile_job(config)["pipelineSpec"]["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["command"] == training_command(settings)
    assert executors["Transform_executor"]["container"]["command"] == ["python", "-m", "pipeline.vertex_step"]


def test_two_machines_for_the_trainer_are_refused(settings):
    content = settings.model_dump() | {"resources": {"Trainer": {"cpus": 8}}}
    with pytest.raises(UsageError, match="the Trainer has the machine of vertex.training; drop one"):
        compile_job(Config.model_validate({"vertex": content}))
