"""Compiles the pipeline for Vertex AI: the DAG of every engine, as a job that the service can run.

What a run reads (window, comparisons, golden window, schema) are parameters of the job, so one compiled file serves
every span. An exit handler makes the report (`pipeline.vertex_report`).
"""

import json
import os

from components.errors import UsageError
from components.secrets import REFERENCE
from pipeline.beam_arguments import arguments_of
from pipeline.beam_settings import BEAM_NODES
from pipeline.config import Config
from pipeline.remote import inputs_of, places_at
from pipeline.vertex_settings import NodeResources

COMMAND = ["python", "-m", "pipeline.vertex_step"]
# As TFX names it.
_GROUP = "tfx-dag"


def compile_job(config: Config) -> dict:
    """Compiles the pipeline.

    Args:
      config: its section `vertex` says where and on what.

    Returns:
      The job, as Vertex AI's API takes it in JSON.

    Raises:
      UsageError: if the config asks for what Vertex AI cannot run.
    """
    _refuse(config)
    from tfx.orchestration.data_types import RuntimeParameter
    from tfx.orchestration.kubeflow.decorators import FinalStatusStr
    from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

    from pipeline.dag import create_pipeline
    from pipeline.vertex_report import RunReport

    settings = config.vertex
    parameters = {name: RuntimeParameter(name=name, ptype=str) for name in inputs_of(config)}
    places = places_at(settings.root, parameters)
    pipeline = create_pipeline(config, places, after_push=lambda pusher: _registry(pusher, config))
    told = config.model_dump_json(exclude_defaults=True, exclude={"kubeflow", "schema_file"})
    report = RunReport(root=settings.root, config=told, status=FinalStatusStr())
    nodes = {node.id: node for node in [*pipeline.components, report]}
    _equip(nodes, settings.resources)
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(default_image=settings.image, default_commands=COMMAND, use_pipeline_spec_2_1=True)
    )
    runner.set_exit_handler(report)
    job = runner.run(pipeline, write_out=False)
    _hand_on_parameters(job["pipelineSpec"])
    if settings.training is not None:
        from pipeline.vertex_training import training_command

        executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
        executors["Trainer_executor"]["container"]["command"] = training_command(settings)
    # TFX adds labels of its own making; what the user named is what the job is found by.
    return job | {"labels": settings.labels}


def tasks_of(job: dict) -> dict:
    """The tasks of a job that are no exit handler."""
    return job["pipelineSpec"]["components"][_GROUP]["dag"]["tasks"]


def _hand_on_parameters(spec: dict) -> None:
    """Gives the group of tasks that an exit handler needs the parameters of the job, which TFX leaves out."""
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    spec["components"][_GROUP]["inputDefinitions"] = {"parameters": dict(parameters)}
    handed = {name: {"componentInputParameter": name} for name in parameters}
    spec["root"]["dag"]["tasks"][_GROUP]["inputs"] = {"parameters": handed}


def compile_to(config: Config, output: str) -> str:
    """Writes the compiled job as JSON; returns what to tell the user.

    Raises:
      UsageError: see `compile_job`.
    """
    job = compile_job(config)
    part = output + ".part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(job, file, indent=1, sort_keys=True)
        file.write("\n")
    os.replace(part, output)
    told = f"wrote {output}, {len(tasks_of(job))} tasks and the report"
    placeholders = config.vertex.placeholders()
    if placeholders:
        named = ", ".join(f"vertex.{name}" for name in placeholders)
        told += f"; {named} {'are placeholders' if len(placeholders) > 1 else 'is a placeholder'} until the config says"
    return told


def _refuse(config: Config) -> None:
    if config.training.warm_start:
        raise UsageError(
            "training.warm_start: Vertex AI finds no model to start from, as it runs no resolver of ours; turn it off"
        )
    if config.model.weights_file is not None:
        raise UsageError("model.weights_file: is a file of this machine, which no container has; drop the key")
    if config.vertex.training is not None and "Trainer" in config.vertex.resources:
        raise UsageError("vertex.resources: the Trainer has the machine of vertex.training; drop one of them")
    for argument in (argument for node in BEAM_NODES for argument in arguments_of(config, node)):
        if REFERENCE.search(argument):
            raise UsageError(f"beam: {argument} names an environment variable, which no container has; drop it")


def _registry(pusher, config: Config) -> list:
    """The nodes that register and deploy what is pushed, as far as the config asks for them."""
    if config.vertex.registry is None:
        return []
    from pipeline.fingerprint import fingerprint
    from pipeline.vertex_registry import VertexRegistry

    source = fingerprint("pipeline.vertex_registry")
    registry = VertexRegistry(pusher.outputs["pushed_model"], config.pipeline_name, config.vertex, source)
    if config.vertex.registry.deploy is None:
        return [registry]
    from pipeline.vertex_endpoint import VertexEndpoint

    source = fingerprint("pipeline.vertex_endpoint")
    return [registry, VertexEndpoint(registry.outputs["registered_model"], config.vertex, source)]


def _equip(nodes: dict, resources: dict[str, NodeResources]) -> None:
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig

    spec = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec
    for name, wanted in resources.items():
        if name not in nodes:
            raise UsageError(f"vertex.resources: {name!r} is no node of this pipeline; it has {', '.join(nodes)}")
        given = spec(cpu_limit=wanted.cpus or 0, memory_limit=wanted.memory_gb or 0)
        if wanted.accelerator:
            given.accelerator.type, given.accelerator.count = wanted.accelerator, wanted.accelerators
        if not hasattr(nodes[name], "with_platform_config"):
            raise UsageError(f"vertex.resources: {name!r} runs in no container; drop it")
        nodes[name].with_platform_config(given)
