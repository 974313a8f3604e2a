"""Executes a compiled Kubeflow pipeline as the cluster does, each step as a process of its own.

What it assumes of the service, and the cluster is not here to show:

- a parameter that is the placeholder `{{$.pipeline_job_uuid}}` gets the run's id, the same in every try of every step;
- `{{$.inputs.parameters['x']}}` and `{{$.outputs.parameters['x'].output_file}}` are replaced in the arguments, and what
  a step wrote to such a file is the output of the try that succeeded;
- a step starts when all its dependencies have succeeded, beside others that can; a step that fails is started again as
  its retry policy says (without the pause here), and those behind one that failed for good do not start;
- the steps are a group, and when it has come to its end, however that is, the exit handler's step starts;
- a secret and a variable become environment variables, a claim a folder that is there.

Whatever else a pipeline says is refused, so that nothing passes here because it was overlooked.
"""

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from warm import Warm

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")
_OUTPUT = re.compile(r"\{\{\$\.outputs\.parameters\['(\w+)'\]\.output_file\}\}")
_EXIT = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
_STEP = ("cachingOptions", "componentRef", "dependentTasks", "inputs", "retryPolicy", "taskInfo")


def only(what: dict, *known: str) -> dict:
    """The mapping, which may have no other keys."""
    assert set(what) <= set(known), f"not implemented: {sorted(set(what) - set(known))}"
    return what


_NAMES = {"pvcNameParameter": "constant", "secretNameParameter": "secretName"}
_LIMITS = {"resourceCount": "count", "resourceType": "type", "resourceCpuLimit": "cpuLimit"}


def said_once(what):
    """A compiled document without what kfp 2.16 says a second time, for newer backends; both must say the same."""
    if isinstance(what, list):
        return [said_once(inner) for inner in what]
    if not isinstance(what, dict):
        return what
    for twin, name in _NAMES.items():
        assert what.get(twin, {"runtimeValue": {"constant": what.get(name)}}) == {
            "runtimeValue": {"constant": what.get(name)}
        }
    for twin, name in _LIMITS.items():
        assert twin not in what or what[twin] == what[name] or float(what[twin]) == what[name]
    assert what.get("optional", False) is False and ("memoryLimit" in what or "resourceMemoryLimit" not in what)
    twins = {*_NAMES, *_LIMITS, "resourceMemoryLimit", "optional"}
    return {name: said_once(inner) for name, inner in what.items() if name not in twins}


@dataclass
class Step:
    """One try of a task."""

    status: int
    log: str


@dataclass
class Run:
    """A run that has ended.

    Attributes:
      run_id: that all its steps were told.
      tries: task -> its tries, in order.
      parallel: the most steps that were seen running at once.
      started, ended: by the clock that only goes forward.
    """

    run_id: str
    started: float
    tries: dict[str, list[Step]] = field(default_factory=dict)
    parallel: int = 0
    ended: float = 0

    @property
    def status(self) -> int:
        """0, or the exit status of a task that failed for good."""
        return next((tries[-1].status for tries in self.tries.values() if tries[-1].status), 0)

    def said(self) -> str:
        """What all steps wrote."""
        return "".join(f"\n--- {name}\n{step.log[-3000:]}" for name, tries in self.tries.items() for step in tries)


class Backend:
    """A cluster.

    Args:
      path: the compiled YAML.
      folder: for outputs and logs of steps.
      secrets: (name, key) -> value.
      warm: steps are forked from it, which saves each of them the imports; None runs the commands as they are.
      machine: variables that the images have.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        secrets: dict[tuple[str, str], str],
        warm: Warm | None = None,
        machine: dict[str, str] | None = None,
    ):
        self._spec, platform = map(said_once, yaml.safe_load_all(path.read_text()))
        only(self._spec, "components", "deploymentSpec", "pipelineInfo", "root", "schemaVersion", "sdkVersion")
        kubernetes = only(only(platform, "platforms")["platforms"], "kubernetes")["kubernetes"]
        self._platform = only(only(kubernetes, "deploymentSpec")["deploymentSpec"], "executors")["executors"]
        self._folder, self._secrets, self._warm, self._machine = folder, secrets, warm, machine or {}
        outer = only(only(self._spec["root"], "dag", "inputDefinitions")["dag"], "tasks")["tasks"]
        ((self._exit, self._exit_task),) = [(n, task) for n, task in outer.items() if "triggerPolicy" in task]
        ((group, self._group),) = [(name, task) for name, task in outer.items() if name != self._exit]
        assert (self._exit_task["triggerPolicy"], self._exit_task["dependentTasks"]) == (_EXIT, [group])
        only(self._group, "componentRef", "inputs", "taskInfo")
        inner = only(self._spec["components"][self._group["componentRef"]["name"]], "dag", "inputDefinitions")
        self._tasks = only(inner["dag"], "tasks")["tasks"]
        self.tasks = {*self._tasks, self._exit}

    def run(self, parameters: dict | None = None, kill: str | None = None, at_once: int = 2) -> Run:
        """Runs the pipeline to its end.

        Args:
          parameters: of the pipeline; what is left out has its default.
          kill: a task whose first try gets SIGKILL when its node's executor has started.
          at_once: how many steps may run at a time.
        """
        run, outputs, running = Run(str(uuid.uuid4()), time.monotonic()), {}, {}
        values = {
            name: given["defaultValue"] for name, given in self._spec["root"]["inputDefinitions"]["parameters"].items()
        }
        values |= parameters or {}
        given = self._group.get("inputs", {})
        inner = {key: _value(value, run, values, {}) for key, value in only(given, "parameters")["parameters"].items()}
        waiting = dict(self._tasks)
        with ThreadPoolExecutor(at_once) as pool:
            while waiting or running:
                ready = [
                    name for name, task in waiting.items() if set(task.get("dependentTasks", [])) <= outputs.keys()
                ]
                for name in ready[: at_once - len(running)]:
                    task = waiting.pop(name)
                    only(task, *_STEP)
                    running[pool.submit(self._task, run, name, task, inner, outputs, name == kill)] = name
                run.parallel = max(run.parallel, len(running))
                if not running:
                    break
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    name, produced = running.pop(done), done.result()
                    if produced is not None:
                        outputs[name] = produced
        only(self._exit_task, *_STEP, "triggerPolicy")
        self._task(run, self._exit, self._exit_task, values, {}, False)
        run.ended = time.monotonic()
        return run

    def _task(self, run, name, task, values, outputs, kill) -> dict | None:
        """Outputs of a task, or None if it failed for good."""
        assert task["cachingOptions"] == {}, "Kubeflow's cache would answer"
        inputs = {k: _value(v, run, values, outputs) for k, v in task.get("inputs", {}).get("parameters", {}).items()}
        component = only(
            self._spec["components"][task["componentRef"]["name"]],
            "executorLabel",
            "inputDefinitions",
            "outputDefinitions",
        )
        label = component["executorLabel"]
        retries = only(
            task.get("retryPolicy", {}), "maxRetryCount", "backoffDuration", "backoffFactor", "backoffMaxDuration"
        )
        for number in range(1 + retries.get("maxRetryCount", 0)):
            folder = self._folder / run.run_id / f"{name}-{number}"
            folder.mkdir(parents=True)
            step = self._try(label, inputs, folder, kill and number == 0)
            run.tries.setdefault(name, []).append(step)
            if step.status == 0:
                return {file.name: file.read_text() for file in (folder / "outputs").iterdir()}
        return None

    def _try(self, label: str, inputs: dict, folder: Path, kill: bool) -> Step:
        container = only(self._spec["deploymentSpec"]["executors"][label], "container")["container"]
        only(container, "image", "command", "args", "env", "resources")
        only(container.get("resources", {}), "cpuLimit", "memoryLimit", "accelerator")
        (folder / "outputs").mkdir()
        arguments = []
        for argument in container["command"] + container["args"]:
            argument = _INPUT.sub(lambda match: str(inputs[match[1]]), argument)
            argument = _OUTPUT.sub(lambda match: str(folder / "outputs" / match[1]), argument)
            assert "{{" not in argument, argument
            arguments.append(argument)
        log = folder / "log"
        poll, end = self._start(arguments, self._environment(label), folder, log)
        while (status := poll()) is None:
            if kill and "Going to run a new execution:" in log.read_text():
                end()
            time.sleep(0.2)
        return Step(status, log.read_text())

    def _start(
        self, arguments: list[str], environment: dict[str, str], folder: Path, log: Path
    ) -> tuple[Callable, ...]:
        """Starts a command; returns what asks for its exit status and what kills it."""
        if self._warm is not None:
            python, dash_m, *command = arguments
            assert (python, dash_m) == (sys.executable, "-m")
            process = self._warm.module(command, environment, folder, log)
        else:
            with open(log, "w") as file:
                process = subprocess.Popen(arguments, env=environment, cwd=folder, stdout=file, stderr=file)
        return process.poll, process.kill

    def _environment(self, label: str) -> dict[str, str]:
        platform = only(self._platform.get(label, {}), "pvcMount", "secretAsEnv", "nodeSelector")
        for mount in platform.get("pvcMount", []):
            assert os.path.isdir(only(mount, "constant", "mountPath")["mountPath"])
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= self._machine
        for variable in self._spec["deploymentSpec"]["executors"][label]["container"].get("env", []):
            environment[only(variable, "name", "value")["name"]] = variable["value"]
        for secret in platform.get("secretAsEnv", []):
            for entry in only(secret, "secretName", "keyToEnv")["keyToEnv"]:
                environment[entry["envVar"]] = self._secrets[secret["secretName"], entry["secretKey"]]
        return environment


def _value(given: dict, run: Run, values: dict, outputs: dict):
    if "componentInputParameter" in given:
        value = values[given["componentInputParameter"]]
        # The compiler writes numbers as floats.
        return int(value) if isinstance(value, float) and value.is_integer() else value
    if "taskOutputParameter" in given:
        source = only(given["taskOutputParameter"], "outputParameterKey", "producerTask")
        return outputs[source["producerTask"]][source["outputParameterKey"]]
    constant = only(only(given, "runtimeValue")["runtimeValue"], "constant")["constant"]
    return run.run_id if constant == "{{$.pipeline_job_uuid}}" else constant
