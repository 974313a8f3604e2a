"""The command of the Trainer's container where Vertex AI Training trains: a custom job does what it was to do.

    python -m pipeline.vertex_training SETTINGS ARGUMENTS...

SETTINGS is the JSON of `VertexSettings`; ARGUMENTS are those of `pipeline.vertex_step`, which the job runs on the
machine of `vertex.training`. Exit status: 0 where the job succeeded, else 1.
"""

import json
import signal
import sys
import time

from components.errors import SegpipeError
from pipeline.remote_calls import Service
from pipeline.vertex_client import connect, pauses
from pipeline.vertex_settings import VertexSettings

_NEEDED = {"project", "region", "root", "image", "endpoint", "labels", "service_account", "training"}


def training_command(settings: VertexSettings) -> list[str]:
    """The command of the Trainer's container."""
    content = settings.model_dump_json(include=_NEEDED, exclude_none=True)
    return ["python", "-m", "pipeline.vertex_training", content]


def train(settings: VertexSettings, arguments: list[str]) -> None:
    """Starts the job and waits for its end.

    Args:
      settings: the section `vertex`, with `training`.
      arguments: of `pipeline.vertex_step`.

    Raises:
      SegpipeError: if the job fails, or the service does.
    """
    from google.cloud import aiplatform

    service = connect(settings)
    name = _name(arguments)

    def start(again: bool) -> str:
        made = aiplatform.CustomJob.list(filter=f'display_name="{name}"') if again else []
        if made:
            return made[0].resource_name
        job = aiplatform.CustomJob(
            display_name=name,
            worker_pool_specs=[_workers(settings, arguments)],
            labels=settings.labels,
            staging_bucket=settings.root,
        )
        job.submit(service_account=settings.service_account)
        return job.resource_name

    job = service.ask(start)
    print(f"training in {job}", flush=True)
    try:
        _wait(service, job)
    except SystemExit:
        service.ask(lambda _: aiplatform.CustomJob.get(job).cancel())
        raise


def _workers(settings: VertexSettings, arguments: list[str]) -> dict:
    command = ["python", "-m", "pipeline.vertex_step"]
    container = {"image_uri": settings.image, "command": command, "args": arguments}
    return {"machine_spec": settings.training.spec(), "replica_count": 1, "container_spec": container}


def _name(arguments: list[str]) -> str:
    """A name of the job that no other run or try of a task has, from the place where the task writes."""
    place = arguments.index("--json_serialized_invocation_args") + 1
    *_, job, task, _ = json.loads(arguments[place])["outputs"]["outputFile"].split("/")
    return f"{job}-{task}"[:128]


def _wait(service: Service, job: str) -> None:
    from google.cloud import aiplatform
    from google.cloud.aiplatform_v1.types import JobState

    ended = (JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED, JobState.JOB_STATE_EXPIRED)
    for pause in pauses():
        resource = service.ask(lambda _: aiplatform.CustomJob.get(job).gca_resource)
        if resource.state == JobState.JOB_STATE_SUCCEEDED:
            return
        if resource.state in ended:
            raise SegpipeError(f"{job} ended as {resource.state.name}: {resource.error.message}; its log says why")
        time.sleep(pause)


def main() -> None:
    """Trains as the command line says."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        train(VertexSettings.model_validate_json(sys.argv[1]), sys.argv[2:])
    except SegpipeError as error:
        print(f"segpipe: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
