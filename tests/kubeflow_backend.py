"""Executes a compiled Kubeflow pipeline as the cluster does, each step as a process of its own.

What it assumes of the service, and the cluster is not here to show:

- a parameter that is the placeholder `{{$.pipeline_job_uuid}}` gets the run's id, the same in every try of every step;
- `{{$.inputs.parameters['x']}}` and `{{$.outputs.parameters['x'].output_file}}` are replaced in the arguments, and what
  a step wrote to such a file is the output of the try that succeeded;
- a step starts when all its dependencies have succeeded, beside others that can; a step that fails is started again as
  its retry policy says (without the pause here), and those behind one that failed for good do not start;
- a secret becomes an environment variable, a claim a folder that is there.

Whatever else a pipeline says is refused, so that nothing passes here because it was overlooked.
"""

import os
import re
import subprocess
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import yaml

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")
_OUTPUT = re.compile(r"\{\{\$\.outputs\.parameters\['(\w+)'\]\.output_file\}\}")


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
    """

    run_id: str
    tries: dict[str, list[Step]] = field(default_factory=dict)
    parallel: int = 0

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
    """

    def __init__(self, path: Path, folder: Path, secrets: dict[tuple[str, str], str]):
        self._spec, platform = map(said_once, yaml.safe_load_all(path.read_text()))
        only(self._spec, "components", "deploymentSpec", "pipelineInfo", "root", "schemaVersion", "sdkVersion")
        kubernetes = only(only(platform, "platforms")["platforms"], "kubernetes")["kubernetes"]
        self._platform = only(only(kubernetes, "deploymentSpec")["deploymentSpec"], "executors")["executors"]
        self._folder, self._secrets = folder, secrets
        self.tasks = only(only(self._spec["root"], "dag", "inputDefinitions")["dag"], "tasks")["tasks"]

    def run(self, parameters: dict | None = None, kill: str | None = None, until: tuple = (), at_once: int = 2) -> Run:
        """Runs the pipeline to its end.

        Args:
          parameters: of the pipeline; what is left out has its default.
          kill: a task whose first try gets SIGKILL when its node's executor has started.
          until: names of the only tasks to run; empty runs all.
          at_once: how many steps may run at a time.
        """
        run, outputs, running = Run(str(uuid.uuid4())), {}, {}
        values = {
            name: given["defaultValue"] for name, given in self._spec["root"]["inputDefinitions"]["parameters"].items()
        }
        values |= parameters or {}
        waiting = {name: task for name, task in self.tasks.items() if not until or name in until}
        with ThreadPoolExecutor(at_once) as pool:
            while waiting or running:
                ready = [
                    name for name, task in waiting.items() if set(task.get("dependentTasks", [])) <= outputs.keys()
                ]
                for name in ready[: at_once - len(running)]:
                    task = waiting.pop(name)
                    running[pool.submit(self._task, run, name, task, values, outputs, name == kill)] = name
                run.parallel = max(run.parallel, len(running))
                if not running:
                    break
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    name, produced = running.pop(done), done.result()
                    if produced is not None:
                        outputs[name] = produced
        return run

    def _task(self, run, name, task, values, outputs, kill) -> dict | None:
        """Outputs of a task, or None if it failed for good."""
        only(task, "cachingOptions", "componentRef", "dependentTasks", "inputs", "retryPolicy", "taskInfo")
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
        only(container, "image", "command", "args", "resources")
        only(container.get("resources", {}), "cpuLimit", "memoryLimit", "accelerator")
        (folder / "outputs").mkdir()
        arguments = []
        for argument in container["command"] + container["args"]:
            argument = _INPUT.sub(lambda match: str(inputs[match[1]]), argument)
            argument = _OUTPUT.sub(lambda match: str(folder / "outputs" / match[1]), argument)
            assert "{{" not in argument, argument
            arguments.append(argument)
        log = folder / "log"
        with open(log, "w") as file:
            process = subprocess.Popen(arguments, env=self._environment(label), cwd=folder, stdout=file, stderr=file)
        while process.poll() is None:
            if kill and "Going to run a new execution:" in log.read_text():
                process.kill()
            time.sleep(0.05)
        return Step(process.returncode, log.read_text())

    def _environment(self, label: str) -> dict[str, str]:
        platform = only(self._platform[label], "pvcMount", "secretAsEnv", "nodeSelector")
        for mount in platform.get("pvcMount", []):
            assert os.path.isdir(only(mount, "constant", "mountPath")["mountPath"])
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
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
