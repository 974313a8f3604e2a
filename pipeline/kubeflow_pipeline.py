"""The pipeline for Kubeflow Pipelines: one container for each TFX node, since its backend refuses TFX's resolvers.

    compile_to(load_config("own.yaml"), "pipeline.yaml")

A first container plans the run and puts the pipeline's intermediate representation on the shared root; each further one
launches its node from there (`pipeline.kubeflow_step`); the last says what became of the run, and an exit handler makes
its report whatever happened. ML Metadata decides what is taken from the cache, so Kubeflow's own caching is off.
"""

import json

from kfp import compiler, dsl, kubernetes
from tfx.dsl.compiler.compiler import Compiler

from components.errors import UsageError
from pipeline.beam_arguments import check_local
from pipeline.buckets import is_address
from pipeline.config import Config
from pipeline.dag import create_pipeline
from pipeline.kubeflow_settings import S3_KEYS, S3Settings, StepSettings
from pipeline.kubeflow_step import source_fingerprint
from pipeline.node_launch import node_ids
from pipeline.remote import inputs_of, places_at
from pipeline.remote_metadata import PASSWORD

PLAN, VERDICT, REPORT = "Plan", "Verdict", "Report"

# Linux takes 128 KiB for one argument.
_LONGEST_ARGUMENT = 100 * 1024


def compile_to(config: Config, output: str) -> str:
    """Writes the pipeline as YAML, its platform specification with it.

    Args:
      config: everything a user may choose.
      output: path, ending in `.yaml`.

    Returns:
      A sentence that says what is written.

    Raises:
      UsageError: if the name of the file, of a step or the length of the config does not fit.
    """
    if not output.endswith((".yaml", ".yml")):
        raise UsageError(f"--output {output}: Kubeflow's compiler writes YAML; let the name end in .yaml")
    compiler.Compiler().compile(kubeflow_pipeline(config), output)
    return f"wrote {output}, for {source_fingerprint()} in the image {config.kubeflow.image}"


def kubeflow_pipeline(config: Config):
    """The pipeline as kfp's compiler takes it; `span` and `window` are its parameters, 0 for the config's choice."""
    nodes = _nodes(config)
    settings = config.kubeflow
    if is_address(settings.root):
        check_local(config, f"root {settings.root}", nodes)
    steps = [PLAN, *nodes, VERDICT, REPORT]
    strange = sorted(settings.steps.keys() - set(steps))
    if strange:
        raise UsageError(f"kubeflow.steps: {strange[0]!r} is none of the steps {', '.join(steps)}")
    shared = ["--root", settings.root, "--metadata", settings.metadata.address, "--source", source_fingerprint()]

    def container(step: str, *arguments) -> dsl.ContainerSpec:
        command = [settings.python, "-m", "pipeline.kubeflow_step", step]
        return dsl.ContainerSpec(image=settings.image, command=command, args=[*shared, *arguments])

    given = _given(config)

    @dsl.container_component
    def plan(span: int, window: int, run: str, ir: dsl.OutputPath(str)):
        return container("plan", *given, "--span", span, "--window", window, "--run", run, "--ir", ir)

    def node(name: str):
        def launch(ir: str, run: str):
            return container("node", "--node", name, "--ir", ir, "--run", run)

        launch.__name__ = name
        return dsl.container_component(launch)

    @dsl.container_component
    def verdict(run: str):
        return container("verdict", "--run", run)

    @dsl.container_component
    def report(run: str):
        return container("report", "--run", run)

    @dsl.pipeline(name=config.pipeline_name, description="Validates, transforms, trains, gates and pushes.")
    def whole(span: int = 0, window: int = 0):
        # The backend puts the id of the run where a whole parameter is this placeholder.
        run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        tasks = {REPORT: report(run=run)}
        with dsl.ExitHandler(tasks[REPORT]):
            tasks[PLAN] = plan(span=span, window=window, run=run)
            for name, upstream in nodes.items():
                task = node(name)(ir=tasks[PLAN].outputs["ir"], run=run)
                tasks[name] = task.after(*(tasks[other] for other in upstream))
            tasks[VERDICT] = verdict(run=run).after(*(tasks[name] for name in nodes))
        for name, task in tasks.items():
            _equip(name, task.set_display_name(name), settings.of(name), config)

    return whole


def _nodes(config: Config) -> dict[str, list[str]]:
    """The nodes of every run with this config, in order, with those that each waits for."""
    places = places_at(config.kubeflow.root, dict.fromkeys(inputs_of(config), config.kubeflow.root))
    return node_ids(Compiler().compile(create_pipeline(config, places)))


def _given(config: Config) -> list[str]:
    """What the first step is told of the config, which its image does not hold."""
    content = config.model_dump(mode="json", exclude={"kubeflow", "schema_file"}, exclude_defaults=True)
    given = ["--config", json.dumps(content, sort_keys=True)]
    if config.schema_file is not None:
        with open(config.schema_file, encoding="utf-8") as file:
            given += ["--schema", file.read()]
    for name, text in zip(given[::2], given[1::2], strict=True):
        if len(text.encode()) > _LONGEST_ARGUMENT:
            what = {"--config": "the config", "--schema": f"schema_file {config.schema_file}"}[name]
            raise UsageError(
                f"{what} is longer than the {_LONGEST_ARGUMENT} bytes that a container can be told; cut it"
            )
    return given


def _equip(name: str, task: dsl.PipelineTask, step: StepSettings, config: Config) -> None:
    """Gives a container its resources, retries, volumes and secret."""
    task.set_caching_options(False)
    # What the verdict says stays what it says.
    if step.retries and name != VERDICT:
        task.set_retry(step.retries, backoff_duration=f"{step.retry_seconds}s", backoff_factor=2.0)
    if step.cpu:
        task.set_cpu_limit(step.cpu)
    if step.memory:
        task.set_memory_limit(step.memory)
    if step.accelerator:
        task.set_accelerator_type(step.accelerator).set_accelerator_limit(step.accelerators)
    for key, value in step.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for volume in config.kubeflow.mounts:
        kubernetes.mount_pvc(task, pvc_name=volume.claim, mount_path=volume.path)
    _connect_to_s3(task, config.kubeflow.s3 or S3Settings())
    password = config.kubeflow.metadata.password
    if password is not None and config.kubeflow.metadata.kind == "mysql":
        kubernetes.use_secret_as_env(task, password.name, {password.key: PASSWORD})


def _connect_to_s3(task: dsl.PipelineTask, s3: S3Settings) -> None:
    """Gives a container the variables that Amazon's client reads."""
    for name, value in (("AWS_ENDPOINT_URL_S3", s3.endpoint), ("AWS_DEFAULT_REGION", s3.region)):
        if value is not None:
            task.set_env_variable(name, value)
    if s3.credentials is not None:
        kubernetes.use_secret_as_env(task, s3.credentials, {key: key for key in S3_KEYS})
