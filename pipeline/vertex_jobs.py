"""Submits the pipeline to Vertex AI, once or on a schedule, through Google's client."""

import json
import re
import secrets
import time
from collections.abc import Callable

from components.errors import RefusedError, UsageError
from pipeline.config import Config
from pipeline.newest import point, pointers
from pipeline.remote import inputs_of, upload_inputs
from pipeline.remote_runs import Progress, RemoteSchedule, Submitted, check_remote_cron
from pipeline.verdict import GATES
from pipeline.vertex_client import connect, pipeline_job, start
from pipeline.vertex_runner import compile_job
from pipeline.vertex_settings import VertexSettings
from pipeline.workspace import Workspace

_CONSOLE = "https://console.cloud.google.com/vertex-ai/locations"
_RETURNED = re.compile(r"non-zero status of (\d+)")


def submit(config: Config, workspace: Workspace, span: int | None, window: int | None) -> Submitted:
    """Copies what a run reads to the root and starts the run.

    Args:
      config: everything a user may choose.
      workspace: where the spans are.
      span, window: see `pipeline.plan.plan`.

    Raises:
      SegpipeError: if the config, the data or the service do not let it start.
    """
    settings = config.vertex
    service, job = connect(settings), compile_job(config)
    paths = service.ask(lambda _: _upload(config, workspace, span, window))
    values = {name: f"{settings.root}/{path}" for name, path in paths.items()}
    name = f"{config.pipeline_name}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"

    def create(again: bool) -> None:
        from google.api_core.exceptions import AlreadyExists, Conflict

        try:
            start(config, pipeline_job(config, job, name, values))
        except (AlreadyExists, Conflict):
            # Nobody else has this name: it is what an earlier try made.
            if not again:
                raise

    service.ask(create)
    return Submitted(name, f"{_CONSOLE}/{settings.region}/pipelines/runs/{name}?project={settings.project}")


def progress(config: Config, name: str) -> Progress:
    """Where a run is.

    Args:
      config: says where it runs.
      name: of the run.
    """
    from google.cloud import aiplatform
    from google.cloud.aiplatform_v1.types import PipelineState, PipelineTaskDetail

    job = connect(config.vertex).ask(lambda _: aiplatform.PipelineJob.get(name))
    # The state that a job was read with; asking it for `state` would read it once more.
    resource = job.gca_resource
    everything = list(resource.job_detail.task_details)
    # What an exit handler follows is a task of its own, and ends as those in it do.
    groups = {task.parent_task_id for task in everything}
    tasks = [task for task in everything if task.task_id not in groups]
    ended = {
        task.task_name: task.state.name.lower()
        for task in tasks
        if task.end_time and task.state.name in ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED", "NOT_TRIGGERED")
    }
    if resource.state == PipelineState.PIPELINE_STATE_SUCCEEDED:
        return _pushed(tasks, ended)
    if resource.state not in (PipelineState.PIPELINE_STATE_FAILED, PipelineState.PIPELINE_STATE_CANCELLED):
        return Progress(ended)
    failed = [task for task in tasks if task.state == PipelineTaskDetail.State.FAILED and task.error.message]
    for task in failed:
        returned = _RETURNED.search(task.error.message)
        if task.task_name in GATES and returned and int(returned[1]) == RefusedError.exit_status:
            return Progress(ended, "refused", f"{task.task_name} refused; its log has the reasons")
    told = "; ".join(f"{task.task_name}: {task.error.message}" for task in failed) or resource.error.message
    return Progress(ended, "failed", told or "the job was cancelled")


def _pushed(tasks: list, ended: dict[str, str]) -> Progress:
    """What became of the model of a run whose nodes have all finished."""
    outputs = {
        (task.task_name, key): listed.artifacts[0].metadata or {}
        for task in tasks
        for key, listed in task.outputs.items()
        if listed.artifacts
    }
    pushed = outputs.get(("AtomicPusher", "pushed_model"), {})
    if pushed.get("pushed"):
        return Progress(ended, "pushed", f"live is version {pushed.get('pushed_version')}")
    evaluation = outputs.get(("SegmentationEvaluator", "evaluation"), {})
    reasons = json.loads(evaluation.get("summary") or "{}").get("refusals", [])
    return Progress(ended, "refused", "; ".join(reasons) or "the model is not pushed; the log of AtomicPusher says why")


def create_schedule(config: Config, workspace: Workspace, cron: str, window: int | None) -> RemoteSchedule:
    """Lets Vertex AI run the pipeline at each tick, one run at a time, on what `upload` copied last before it.

    Raises:
      SegpipeError: see `submit`; also if there is a schedule of this pipeline already.
    """
    check_remote_cron(cron)
    from google.cloud import aiplatform

    settings = config.vertex
    service, job = connect(settings), compile_job(config)
    there = list_schedules(config)
    if there:
        raise UsageError(f"{there[0].name} has the schedule {there[0].id} already; --delete it first")
    upload(config, workspace, window)

    def create(again: bool) -> RemoteSchedule:
        made = _listed(config) if again else []
        if made:
            return _told(made[0], settings)
        # What a run reads changes where its parameters do not, which the service's cache would not notice.
        parent = pipeline_job(config, job, None, pointers(settings.root, inputs_of(config)), caching=False)
        schedule = aiplatform.PipelineJobSchedule(pipeline_job=parent, display_name=config.pipeline_name)
        schedule.create(cron=cron, max_concurrent_run_count=1, service_account=settings.service_account)
        return _told(schedule, settings)

    return service.ask(create)


def upload(config: Config, workspace: Workspace, window: int | None) -> None:
    """Copies the newest spans to the root, for the scheduled runs that start from now on."""
    service = connect(config.vertex)

    def move(_: bool) -> None:
        point(config.vertex.root, _upload(config, workspace, None, window))

    service.ask(move)


def _upload(config: Config, workspace: Workspace, span: int | None, window: int | None) -> dict[str, str]:
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    # Beam would take the arguments of this process for its own.
    FileSystems.set_options(PipelineOptions([f"--project={config.vertex.project}"]))
    return upload_inputs(config, workspace, config.vertex.root, span, window)


def list_schedules(config: Config) -> list[RemoteSchedule]:
    """The schedules of the pipeline."""
    service = connect(config.vertex)
    return service.ask(lambda _: [_told(schedule, config.vertex) for schedule in _listed(config)])


def pause(config: Config) -> list[RemoteSchedule]:
    """Lets the schedules of the pipeline start nothing until they are resumed."""
    return _each(config, lambda schedule: schedule.pause(), "PAUSED")


def resume(config: Config) -> list[RemoteSchedule]:
    """Lets them start runs again; ticks of the meantime are not made up for."""
    return _each(config, lambda schedule: schedule.resume(), "ACTIVE")


def delete(config: Config) -> list[RemoteSchedule]:
    """Removes them; what runs goes on."""
    return _each(config, lambda schedule: schedule.delete(), None)


def _each(config: Config, act: Callable, state: str | None) -> list[RemoteSchedule]:
    """Acts on each schedule of the pipeline that is not in the state yet; None stands for gone."""
    from google.api_core.exceptions import NotFound
    from google.cloud import aiplatform

    def move(again: bool, name: str) -> None:
        try:
            schedule = aiplatform.PipelineJobSchedule.get(name)
        except NotFound:
            if again and state is None:
                return
            raise
        if schedule.gca_resource.state.name != state:
            act(schedule)

    service, found = connect(config.vertex), list_schedules(config)
    if not found:
        raise UsageError(f"Vertex AI has no schedule of {config.pipeline_name}; make one with --cron")
    for schedule in found:
        service.ask(lambda again, name=schedule.id: move(again, name))
    return found


def _listed(config: Config) -> list:
    from google.cloud import aiplatform

    found = aiplatform.PipelineJobSchedule.list(filter=f'display_name="{config.pipeline_name}"')
    return [schedule for schedule in found if schedule.gca_resource.state.name != "COMPLETED"]


def _told(schedule, settings: VertexSettings) -> RemoteSchedule:
    resource = schedule.gca_resource
    name = resource.name.rpartition("/")[2]
    address = f"{_CONSOLE}/{settings.region}/pipelines/schedules/{name}?project={settings.project}"
    state = resource.state.name.lower()
    return RemoteSchedule(resource.display_name, name, resource.cron, state, resource.next_run_time, address)
