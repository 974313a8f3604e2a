"""Runs a job that was compiled for Vertex AI, here: each container's command as a process, buckets as folders.

What it takes for granted of the service:

- A task starts when all tasks that it names in `dependentTasks`, or takes an artifact of, have succeeded; the first
  failure ends the job. Here one runs at a time.
- `{{$}}` in an argument is the ExecutorInput as JSON. An output artifact is at
  `<gcsOutputDirectory>/<project number>/<job>/<task>_<number>/<key>`, and `executor_output.json` beside it is where the
  container says what it made of them.
- `gs://BUCKET` is mounted in a container at `/gcs/BUCKET`; here below the folder that SEGPIPE_BUCKETS names.
- Artifacts get a resource name before the task starts. A resolver finds the newest artifact of its schema title in the
  pipeline's context that its filter lets through; without one its output is an empty list, and the task that takes it
  is started all the same.
- Fields of metadata keep the types of JSON.
- A field of the ExecutorInput that the container does not need (`outputs.parameters` of a pipeline without any) may be
  missing. Caching is a matter of the service: here every task runs.

A field of the job that it does not know is an error, so that nothing that is compiled goes untested unseen.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

_JOB = {"displayName", "labels", "pipelineSpec", "runtimeConfig"}
_SPEC = {"components", "deploymentSpec", "pipelineInfo", "root", "schemaVersion", "sdkVersion"}
_TASK = {"inputs", "dependentTasks", "cachingOptions", "taskInfo", "componentRef"}
_COMPONENT = {"executorLabel", "inputDefinitions", "outputDefinitions"}
_CONTAINER = {"image", "command", "args", "resources"}
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
    """

    buckets: Path
    artifacts: list[dict] = field(default_factory=list)
    started: list[tuple[str, list[str]]] = field(default_factory=list)

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
          AssertionError: if a container fails; it has the end of what it wrote.
        """
        spec = only(job, _JOB)["pipelineSpec"]
        only(spec, _SPEC), only(spec["deploymentSpec"], {"executors"})
        only(spec["root"], {"dag", "inputDefinitions"}), only(spec["root"]["dag"], {"tasks"})
        root = only(job["runtimeConfig"], {"gcsOutputDirectory"})["gcsOutputDirectory"]
        declared = only(spec["root"]["inputDefinitions"], {"parameters"})["parameters"]
        assert declared.keys() == parameters.keys(), "the service refuses missing and unknown parameters"
        tasks = spec["root"]["dag"]["tasks"]
        done: dict[str, dict[str, list[dict]]] = {}
        for task_name in TopologicalSorter({name: _needs(task) for name, task in tasks.items()}).static_order():
            task = only(tasks[task_name], _TASK)
            component = only(spec["components"][task["componentRef"]["name"]], _COMPONENT)
            executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
            inputs = only(task.get("inputs", {}), {"artifacts", "parameters"})
            artifacts = {key: _output(done, source) for key, source in inputs.get("artifacts", {}).items()}
            if "resolver" in only(executor, {"container", "resolver"}):
                done[task_name] = self._resolve(executor["resolver"], artifacts)
                continue
            values = {key: _value(source, parameters) for key, source in inputs.get("parameters", {}).items()}
            missing = _keys(component, "inputDefinitions", "parameters") - values.keys()
            assert not missing, f"{task_name} lacks {missing}"
            place = f"{root}/123456/{name}/{task_name}_{len(self.started) + 1}"
            executor_input = {
                "inputs": {"artifacts": _listed(artifacts), "parameterValues": values},
                "outputs": {
                    "artifacts": _listed(self._outputs(component, place)),
                    "outputFile": f"{place}/executor_output.json",
                },
            }
            done[task_name] = self._start(task_name, executor["container"], executor_input)
        return done

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
        environment = dict(os.environ) | {"SEGPIPE_BUCKETS": str(self.buckets)}
        process = subprocess.run(
            [sys.executable, *rest, *arguments],
            env=environment,
            cwd=self.buckets,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert process.returncode == 0, f"{task}: exit {process.returncode}\n{process.stdout[-6000:]}"
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


def _value(source: dict, parameters: dict[str, str]):
    only(source, {"runtimeValue", "componentInputParameter"})
    if "componentInputParameter" in source:
        return parameters[source["componentInputParameter"]]
    return only(source["runtimeValue"], {"constant"})["constant"]


def _keys(component: dict, side: str, kind: str) -> set[str]:
    return set(only(component.get(side, {}), {"artifacts", "parameters"}).get(kind, {}))


def _listed(artifacts: dict[str, list[dict]]) -> dict[str, dict]:
    return {key: {"artifacts": found} for key, found in artifacts.items()}
