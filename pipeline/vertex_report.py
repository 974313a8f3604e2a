"""The exit handler on Vertex AI: makes the report of the job, whatever became of it, from what its containers noted.

The page is `<root>/reports/<job>/report.html` of the bucket.
"""

import json
import time
from pathlib import Path

from absl import logging
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import component_spec

from pipeline.config import Config
from pipeline.report import write_report_of
from pipeline.run_setup import describe_run, write_setup
from pipeline.vertex_record import addressed, read_jobs
from pipeline.workspace import Workspace


class Executor(base_executor.BaseExecutor):
    """Executor of RunReport."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes setup and report of the job that this container is of; a report that cannot be made fails nothing."""
        # <root>/pipeline_root/<project number>/<job>/<task>_<number>/.temp/<task>_<number>
        job = Path(self._context.get_tmp_path()).parents[2]
        workspace = Workspace.at(exec_properties["root"])
        ended = _ended(exec_properties["status"])
        config = Config.model_validate(addressed(json.loads(exec_properties["config"])))
        setup = describe_run(config.model_dump(mode="json"), "vertex", log=None)
        write_setup(workspace, job.name, setup.model_copy(update={"ended": round(time.time(), 3), "error": ended}))
        try:
            print(_write_report(workspace, job, ended))
        except Exception:  # noqa: BLE001, a report that cannot be made must not change what became of the job
            logging.exception("the report of job %s could not be made", job.name)


def _write_report(workspace: Workspace, job: Path, error: str | None) -> str:
    runs = read_jobs(str(job.parent))
    run = next((run for run in runs if run.run_id == job.name), None)
    if run is None:
        return "no task of this job started a container, so there is nothing to report"
    if run.verdict == "running":
        # What killed a container, or kept it from starting, only the service knows.
        run.verdict, run.reasons = ("interrupted", []) if error is None else ("failed", [error])
    return f"report {write_report_of(workspace, run, runs)}"


def _ended(status: str) -> str | None:
    """What the service says of a job that did not succeed, in one line.

    Args:
      status: its PipelineTaskFinalStatus, as JSON.
    """
    told = json.loads(status)
    if told.get("state") == "SUCCEEDED":
        return None
    message = told.get("error", {}).get("message") or f"Vertex AI says {told.get('state', 'nothing')}"
    return " ".join(message.split())


class RunReportSpec(component_spec.ComponentSpec):
    """`root`: of the runs. `config`: as JSON. `status`: how the job ended, as the service fills it in."""

    PARAMETERS = {name: component_spec.ExecutionParameter(type=str) for name in ("root", "config", "status")}
    INPUTS = {}
    OUTPUTS = {}


class RunReport(base_component.BaseComponent):
    """Makes the report; for an exit handler, whose parameter `status` is a `FinalStatusStr`."""

    SPEC_CLASS = RunReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, root: str, config: str, status: str):
        super().__init__(RunReportSpec(root=root, config=config, status=status))
