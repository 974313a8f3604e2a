"""Submits the pipeline to Kubeflow Pipelines, once or on a schedule, through Kubeflow's client."""

import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable

from components.errors import UsageError
from pipeline.config import Config
from pipeline.kubeflow_client import connect
from pipeline.kubeflow_pipeline import VERDICT, compile_to
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.remote_runs import Progress, RemoteSchedule, Submitted, check_remote_cron
from pipeline.verdict import GATES
from pipeline.workspace import Workspace

_ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_STATES = {"ENABLED": "active", "DISABLED": "paused"}


def submit(config: Config, workspace: Workspace, span: int | None, window: int | None) -> Submitted:
    """Starts a run, which chooses its spans on the shared root.

    Args:
      config: everything a user may choose.
      workspace: not read; the spans are where the containers are.
      span, window: see `pipeline.plan.plan`.

    Raises:
      SegpipeError: if the config or the service do not let it start.
    """
    client, service = connect(config.kubeflow)
    experiment = _experiment(client, service, config)
    name = f"{config.pipeline_name}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"

    def create(again: bool):
        made = _named(client.list_runs, "runs", name, experiment, config) if again else []
        return (
            made[0]
            if made
            else client.run_pipeline(
                experiment, name, path, _parameters(span, window), service_account=config.kubeflow.service_account
            )
        )

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pipeline.yaml")
        compile_to(config, path)
        run = service.ask(create)
    return Submitted(run.run_id, f"{_page(config.kubeflow)}/runs/details/{run.run_id}")


def progress(config: Config, name: str) -> Progress:
    """Where a run is.

    Args:
      config: says where it runs.
      name: its id.
    """
    client, service = connect(config.kubeflow)
    run = service.ask(lambda _: client.get_run(name))
    details = (run.run_details.task_details if run.run_details else None) or []
    ended = {task.display_name: task.state.lower() for task in details if _is_step(task) and task.state in _ENDED}
    if run.state == "SUCCEEDED":
        return Progress(ended, "pushed", "the model is live; the log of Verdict has its version")
    if run.state not in _ENDED:
        return Progress(ended)
    failed = [step for step, state in ended.items() if state == "failed"]
    if [step.lower() for step in failed] == [VERDICT.lower()]:
        return Progress(ended, "refused", "a gate refused, nothing is pushed; the log of Verdict has the reasons")
    # A step's exit status does not reach the API, so a gate that raised looks like a node that broke.
    gates = {gate.lower() for gate in GATES}
    what = "refused, or broke" if failed and {step.lower() for step in failed} <= gates else "failed"
    return Progress(ended, "failed", f"{', '.join(failed) or 'the run'} {what}; the log says why")


def _is_step(task) -> bool:
    """Whether it is a step of ours, and none of what the backend runs around them."""
    name = str(task.display_name).lower()
    return (
        name not in ("root", "executor", "run") and not name.endswith("-driver") and not name.startswith("exit-handler")
    )


def create_schedule(config: Config, workspace: Workspace, cron: str, window: int | None) -> RemoteSchedule:
    """Lets Kubeflow run the pipeline at each tick, one run at a time, each on the newest spans.

    Raises:
      SegpipeError: see `submit`; also if there is a schedule of this pipeline already.
    """
    check_remote_cron(cron)
    weekday = cron.split()[4]
    if re.search(r"(^|[,-])7", weekday):
        raise UsageError(f"--cron {cron!r}: Kubeflow counts weekdays from 0, which is Sunday, to 6; write 0 for 7")
    client, service = connect(config.kubeflow)
    experiment = _experiment(client, service, config)
    there = service.ask(lambda _: _recurring(client, experiment, config))
    if there:
        raise UsageError(
            f"{config.pipeline_name} has the schedule {there[0].recurring_run_id} already; --delete it first"
        )

    def create(again: bool):
        made = _recurring(client, experiment, config) if again else []
        return (
            made[0]
            if made
            else client.create_recurring_run(
                experiment,
                config.pipeline_name,
                # Its first field is the second.
                cron_expression=f"0 {cron}",
                max_concurrency=1,
                no_catchup=True,
                params=_parameters(None, window),
                pipeline_package_path=path,
                service_account=config.kubeflow.service_account,
            )
        )

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pipeline.yaml")
        compile_to(config, path)
        return _told(service.ask(create), config.kubeflow)


def list_schedules(config: Config) -> list[RemoteSchedule]:
    """The schedules of the pipeline."""
    client, service = connect(config.kubeflow)
    return service.ask(lambda _: [_told(run, config.kubeflow) for run in _recurring(client, None, config)])


def pause(config: Config) -> list[RemoteSchedule]:
    """Lets the schedules of the pipeline start nothing until they are resumed."""
    return _each(config, lambda client, name: client.disable_recurring_run(name))


def resume(config: Config) -> list[RemoteSchedule]:
    """Lets them start runs again; of the ticks of the meantime only the last is made up for."""
    return _each(config, lambda client, name: client.enable_recurring_run(name))


def delete(config: Config) -> list[RemoteSchedule]:
    """Removes them; what runs goes on."""
    return _each(config, lambda client, name: client.delete_recurring_run(name))


def _each(config: Config, act: Callable) -> list[RemoteSchedule]:
    client, service = connect(config.kubeflow)

    def move(again: bool, name: str) -> None:
        # Enabling or disabling twice changes nothing; what is deleted is not there to delete again.
        if not again or any(run.recurring_run_id == name for run in _recurring(client, None, config)):
            act(client, name)

    found = list_schedules(config)
    if not found:
        raise UsageError(f"Kubeflow Pipelines has no schedule of {config.pipeline_name}; make one with --cron")
    for schedule in found:
        service.ask(lambda again, name=schedule.id: move(again, name))
    return found


def _experiment(client, service, config: Config) -> str:
    name = config.kubeflow.experiment or config.pipeline_name
    made = service.ask(lambda _: client.create_experiment(name, namespace=config.kubeflow.namespace))
    return made.experiment_id


def _parameters(span: int | None, window: int | None) -> dict[str, int]:
    return {"span": span or 0, "window": window or 0}


def _recurring(client, experiment: str | None, config: Config) -> list:
    return _named(client.list_recurring_runs, "recurring_runs", config.pipeline_name, experiment, config)


def _named(listing: Callable, kind: str, name: str, experiment: str | None, config: Config) -> list:
    """All of a kind that have a name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    found, token = [], ""
    while True:
        page = listing(
            page_token=token,
            page_size=100,
            experiment_id=experiment,
            namespace=config.kubeflow.namespace,
            filter=json.dumps({"predicates": [predicate]}),
        )
        found += getattr(page, kind) or []
        token = page.next_page_token
        if not token:
            return found


def _page(settings: KubeflowSettings) -> str:
    return f"{settings.endpoint.rstrip('/')}/#"


def _told(run, settings: KubeflowSettings) -> RemoteSchedule:
    cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
    fields = cron.split()
    address = f"{_page(settings)}/recurringrun/details/{run.recurring_run_id}"
    state = _STATES.get(run.status, str(run.status).lower())
    return RemoteSchedule(
        run.display_name, run.recurring_run_id, " ".join(fields[len(fields) == 6 :]), state, None, address
    )
