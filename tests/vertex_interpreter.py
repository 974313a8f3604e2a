"""Runs a job that was compiled for Vertex AI, here: each container's command as a process, buckets as folders.

What it takes for granted of the service:

- A task starts when all tasks that it names in `dependentTasks`, or takes an artifact of, have succeeded; the first
  failure ends the group of tasks that a job has. Here one runs at a time.
- The exit handler starts when that group has ended, however it did, and `taskFinalStatus` is the group's
  PipelineTaskFinalStatus as JSON. It does not change what becomes of the job.
- `{{$}}` in an argument is the ExecutorInput as JSON. An output artifact is at
  `<gcsOutputDirectory>/<project number>/<job>/<task>_<number>/<key>`, and `executor_output.json` beside it is where the
  container says what it made of them.
- `gs://BUCKET` is mounted in a container at `/gcs/BUCKET`; here below the folder that SEGPIPE_BUCKETS names.
- Artifacts get a resource name before the task starts. A resolver finds the newest artifact of its schema title in the
  pipeline's context that its filter lets through; without one its output is an empty list, and the task that takes it
  is started all the same.
- Fields of metadata keep the types of JSON.
- A custom job of Vertex AI Training runs the command of its one container, with the same mount, as a task would.
- A field of the ExecutorInput that the container does not need (`outputs.parameters` of a pipeline without any) may be
  missing. Caching is a matter of the service: here every task runs.

A field of the job that it does not know is an error, so that nothing that is compiled goes untested unseen.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import yaml
from warm import Warm

_JOB = {"displayName", "labels", "pipelineSpec", "runtimeConfig"}
_SPEC = {"components", "deploymentSpec", "pipelineInfo", "root", "schemaVersion", "sdkVersion"}
_TASK = {"inputs", "dependentTasks", "cachingOptions", "taskInfo", "componentRef"}
_COMPONENT = {"executorLabel", "inputDefinitions", "outputDefinitions"}
_CONTAINER = {"image", "command", "args", "resources"}
_POOL = {"machineSpec", "replicaCount", "containerSpec"}
_CONDITIONS = (
    (re.compile(r"state=LIVE"), lambda artifact, match: True),
    (re.compile(r'schema_title="([^"]+)"'), lambda artifact, match: title(artifact) == match[1]),
    (re.compile(r'name="([^"]*)"'), lambda artifact, match: artifact["name"] == match[1]),
    (
        re.compile(r"metadata\.(\w+)\.number_value=(\d+)"),
        lambda artifact, match: artifact.get("metadata", {}).get(match[1]) == float(match[2]),
    ),
)


def only(given: dict, known: set[str]) -> dict:
    """The same, if it has no other fields than the known ones."""
    strange = given.keys() - known
    if strange:
        raise NotImplementedError(f"the interpreter does not implement {sorted(strange)}")
    return given


def title(artifact: dict) -> str:
    return yaml.safe_load(artifact["type"]["instanceSchema"])["title"]


@dataclass
class Service:
    """What outlives a job.

    Attributes:
      buckets: folder that holds a folder per bucket.
      artifacts: of all jobs, in the order in which they were made.
      started: task and arguments of every container, in the order in which they ran.
      said: what the last job's containers wrote, by task.
      warm: containers are forked from it, which saves each of them the imports; None runs the commands as they are.
    """

    buckets: Path
    artifacts: list[dict] = field(default_factory=list)
    started: list[tuple[str, list[str]]] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    warm: Warm | None = None

    def run(self, job: dict, name: str, parameters: dict[str, str]) -> dict[str, dict[str, list[dict]]]:
        """Runs a job.

        Args:
          job: as compiled.
          name: of the job.
          parameters: values of its runtime parameters.

        Returns:
          Task -> output key -> artifacts.

        Raises:
          NotImplementedError: if the job has a field that is not implemented.
          AssertionError: if a container fails, after the exit handler; it has the end of what it wrote.
        """
        self.said = {}
        spec = only(job, _JOB)["pipelineSpec"]
        only(spec, _SPEC), only(spec["deploymentSpec"], {"executors"})
        only(spec["root"], {"dag", "inputDefinitions"}), only(spec["root"]["dag"], {"tasks"})
        root = only(job["runtimeConfig"], {"gcsOutputDirectory"})["gcsOutputDirectory"]
        declared = only(spec["root"]["inputDefinitions"], {"parameters"})["parameters"]
        assert declared.keys() == parameters.keys(), "the service refuses missing and unknown parameters"
        outer = spec["root"]["dag"]["tasks"]
        ((last, exit_task),) = [(n, task) for n, task in outer.items() if "triggerPolicy" in task]
        ((group, whole),) = [(n, task) for n, task in outer.items() if n != last]
        only(exit_task, _TASK | {"triggerPolicy"}), only(whole, {"componentRef", "inputs", "taskInfo"})
        assert exit_task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
        assert exit_task["dependentTasks"] == [group]
        inner = only(spec["components"][whole["componentRef"]["name"]], {"dag", "inputDefinitions"})
        handed = only(whole.get("inputs", {}), {"parameters"}).get("parameters", {})
        given = {key: _value(source, parameters) for key, source in handed.items()}
        assert given.keys() == _keys(inner, "inputDefinitions", "parameters"), "parameters are handed to the group"
        place = f"{root}/123456/{name}"
        status = {"state": "SUCCEEDED", "pipelineTaskName": group}
        try:
            return self._group(spec, only(inner["dag"], {"tasks"})["tasks"], given, place)
        except AssertionError as error:
            status |= {"state": "FAILED", "error": {"code": 9, "message": f"a task failed: {str(error)[:100]}"}}
            raise
        finally:
            self._task(spec, last, exit_task, {}, parameters, place, json.dumps(status))

    def _group(self, spec: dict, tasks: dict, parameters: dict[str, str], place: str) -> dict:
        done: dict[str, dict[str, list[dict]]] = {}
        for task_name in TopologicalSorter({name: _needs(task) for name, task in tasks.items()}).static_order():
            done[task_name] = self._task(spec, task_name, only(tasks[task_name], _TASK), done, parameters, place)
        return done

    def _task(
        self, spec: dict, name: str, task: dict, done: dict, parameters: dict[str, str], place: str, status: str = ""
    ) -> dict[str, list[dict]]:
        component = only(spec["components"][task["componentRef"]["name"]], _COMPONENT)
        executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
        inputs = only(task.get("inputs", {}), {"artifacts", "parameters"})
        artifacts = {key: _output(done, source) for key, source in inputs.get("artifacts", {}).items()}
        if "resolver" in only(executor, {"container", "resolver"}):
            return self._resolve(executor["resolver"], artifacts)
        values = {key: _value(source, parameters, status) for key, source in inputs.get("parameters", {}).items()}
        missing = _keys(component, "inputDefinitions", "parameters") - values.keys()
        assert not missing, f"{name} lacks {missing}"
        place = f"{place}/{name}_{len(self.started) + 1}"
        executor_input = {
            "inputs": {"artifacts": _listed(artifacts), "parameterValues": values},
            "outputs": {
                "artifacts": _listed(self._outputs(component, place)),
                "outputFile": f"{place}/executor_output.json",
            },
        }
        return self._start(name, executor["container"], executor_input)

    def train(self, job: dict) -> Callable[[], int | None]:
        """Starts a custom job; returns what tells its exit status, or None while it runs.

        Args:
          job: as JSON.

        Raises:
          NotImplementedError: if the job has a field that is not implemented.
        """
        only(job, {"name", "displayName", "jobSpec", "labels", "state"})
        spec = only(job["jobSpec"], {"workerPoolSpecs", "baseOutputDirectory", "serviceAccount"})
        (pool,) = spec["workerPoolSpecs"]
        only(pool, _POOL), only(pool["machineSpec"], {"machineType", "acceleratorType", "acceleratorCount"})
        container = only(pool["containerSpec"], {"imageUri", "command", "args"})
        assert container["imageUri"] and int(pool["replicaCount"]) == 1
        program, *command = container["command"]
        assert program == "python"
        self.started.append(("custom job", container["args"]))
        return self._begin([*command, *container["args"]], self.buckets / "log-training")

    def path(self, address: str) -> Path:
        """Where an address of a bucket is here."""
        assert address.startswith("gs://"), f"{address} is no address of a bucket"
        return self.buckets / address.removeprefix("gs://")

    def _outputs(self, component: dict, place: str) -> dict[str, list[dict]]:
        definitions = only(component.get("outputDefinitions", {}), {"artifacts"}).get("artifacts", {})
        return {
            key: [{"name": f"{place}/{key}", "uri": f"{place}/{key}", "type": definition["artifactType"]}]
            for key, definition in definitions.items()
        }

    def _start(self, task: str, container: dict, executor_input: dict) -> dict[str, list[dict]]:
        only(container, _CONTAINER)
        assert container["image"], "a container has an image"
        arguments = [json.dumps(executor_input) if a == "{{$}}" else a for a in container["args"]]
        program, *rest = container["command"]
        assert program == "python"
        self.started.append((task, arguments))
        status, self.said[task] = self._execute([*rest, *arguments])
        assert status == 0, f"{task}: exit {status}\n{self.said[task][-6000:]}"
        written = json.loads(self.path(executor_input["outputs"]["outputFile"]).read_text())
        reported = only(written, {"artifacts"}).get("artifacts", {})
        made = {key: listed["artifacts"] for key, listed in executor_input["outputs"]["artifacts"].items()}
        assert reported.keys() == made.keys()
        for key, (artifact,) in made.items():
            (said,) = reported[key]["artifacts"]
            only(said, {"name", "uri", "metadata"})
            assert said["name"] == artifact["name"], f"{task}.{key} lost its name"
            assert said["uri"].startswith("gs://"), f"{task}.{key} is at {said['uri']}, which only this container sees"
            artifact.update(said)
            self.artifacts.append(artifact)
        return made

    def _execute(self, command: list[str]) -> tuple[int, str]:
        """Exit status of a command of Python, and what it wrote."""
        log = self.buckets / f"log-{len(self.started)}"
        poll, deadline = self._begin(command, log), time.monotonic() + 900
        while (status := poll()) is None:
            assert time.monotonic() < deadline, f"{command} runs for too long\n{log.read_text()}"
            time.sleep(0.2)
        return status, log.read_text()

    def _begin(self, command: list[str], log: Path) -> Callable[[], int | None]:
        """Starts a command of Python; returns what tells its exit status, or None while it runs."""
        environment = dict(os.environ) | {"SEGPIPE_BUCKETS": str(self.buckets)}
        if self.warm is not None:
            dash_m, *command = command
            assert dash_m == "-m"
            return self.warm.module(command, environment, self.buckets, log).poll
        with open(log, "w") as file:
            command = [sys.executable, *command]
            process = subprocess.Popen(command, env=environment, cwd=self.buckets, stdout=file, stderr=file)
        return process.poll

    def _resolve(self, resolver: dict, inputs: dict[str, list[dict]]) -> dict[str, list[dict]]:
        queries = only(resolver, {"outputArtifactQueries"})["outputArtifactQueries"]
        return {key: self._newest(only(query, {"filter"})["filter"], inputs) for key, query in queries.items()}

    def _newest(self, query: str, inputs: dict[str, list[dict]]) -> list[dict]:
        for key, field_name in re.findall(r"\{\{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]\}\}", query):
            if not inputs[key]:
                return []
            whole = f"{{{{$.inputs.artifacts['{key}'].metadata['{field_name}']}}}}"
            query = query.replace(whole, str(inputs[key][0]["metadata"][field_name]))
        found = [a for a in self.artifacts if all(_holds(condition, a) for condition in query.split(" AND "))]
        return found[-1:]


def _holds(condition: str, artifact: dict) -> bool:
    for pattern, test in _CONDITIONS:
        match = pattern.fullmatch(condition)
        if match:
            return test(artifact, match)
    raise NotImplementedError(f"the interpreter does not implement the condition {condition}")


def _needs(task: dict) -> set[str]:
    sources = task.get("inputs", {}).get("artifacts", {}).values()
    return set(task.get("dependentTasks", [])) | {source["taskOutputArtifact"]["producerTask"] for source in sources}


def _output(done: dict, source: dict) -> list[dict]:
    wanted = only(only(source, {"taskOutputArtifact"})["taskOutputArtifact"], {"producerTask", "outputArtifactKey"})
    return done[wanted["producerTask"]][wanted["outputArtifactKey"]]


def _value(source: dict, parameters: dict[str, str], status: str = ""):
    only(source, {"runtimeValue", "componentInputParameter", "taskFinalStatus"})
    if "taskFinalStatus" in source:
        assert status, "only an exit handler is told how tasks ended"
        return status
    if "componentInputParameter" in source:
        return parameters[source["componentInputParameter"]]
    return only(source["runtimeValue"], {"constant"})["constant"]


def _keys(component: dict, side: str, kind: str) -> set[str]:
    return set(only(component.get(side, {}), {"artifacts", "parameters"}).get(kind, {}))


def _listed(artifacts: dict[str, list[dict]]) -> dict[str, dict]:
    return {key: {"artifacts": found} for key, found in artifacts.items()}
