"""What runs the Beam pipelines; the `beam` section of the config.

    beam:
      default: {runner: DirectRunner, direct_num_workers: 4}
      nodes:
        Transform: {runner: DataflowRunner, machine_type: n1-standard-4, max_num_workers: 8}

A runner's keys are Beam's options of the same names; those that have no key are written into `arguments`.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from components.secrets import REFERENCE, SECRET_NAME

BEAM_NODES = ("ingest", "StatisticsGen", "Transform", "SegmentationEvaluator", "GoldenEvaluator", "BulkInferrer")
"""What is a Beam pipeline: `segpipe ingest`, nodes of a run and one of `segpipe infer`."""


def _checked(arguments: list[str]) -> list[str]:
    for argument in arguments:
        if not argument.startswith("--"):
            raise ValueError(f"{argument!r} is no option of Beam; write it as --name=value")
        name, _, value = argument.partition("=")
        if SECRET_NAME.search(name) and value and not REFERENCE.fullmatch(value):
            raise ValueError(f"{name} holds a secret; write {name}=${{NAME}} and set that environment variable")
    return arguments


class Runner(BaseModel):
    """What every runner has.

    Attributes:
      runner: Beam's name of it.
      arguments: further options of Beam, as `--name=value`; `${NAME}` in one stands for an environment variable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flags: ClassVar[tuple[str, ...]] = ()
    """Options without a value that go with it."""

    runner: str
    # Checked as a whole: of a single item that is wrong, the message would show what it is.
    arguments: Annotated[list[str], AfterValidator(_checked)] = []

    @model_validator(mode="after")
    def _said_once(self) -> "Runner":
        for argument in self.arguments:
            name = argument.partition("=")[0].removeprefix("--")
            if name in type(self).model_fields:
                raise ValueError(f"arguments: --{name} is a key of {self.runner}; write {name}: beside arguments")
        return self

    def options(self) -> dict[str, str]:
        """Name of each option that is given -> value, without `arguments`."""
        given = self.model_dump(exclude={"arguments"}, exclude_none=True)
        return {name: str(value) for name, value in given.items()}


class DirectRunner(Runner):
    """Beam on this machine.

    Attributes:
      direct_running_mode: in_memory, multi_threading or multi_processing; left out, processes if there are several
        workers.
      direct_num_workers: how many; 0 takes one for each core. Left out, one; if the mode is left out, too, an
        evaluation takes as many as its photos are worth, see `components.evaluator.processes`.
    """

    # With TFX 1.21 comes a Beam that would first fetch another engine from GitHub at every pipeline, Prism, which knows
    # no direct_num_workers. This keeps it from that; triggers, which it allows, are used by no node.
    flags: ClassVar[tuple[str, ...]] = ("--allow_unsafe_triggers",)

    runner: Literal["DirectRunner"] = "DirectRunner"
    direct_running_mode: Literal["in_memory", "multi_threading", "multi_processing"] | None = None
    direct_num_workers: int | None = Field(default=None, ge=0)

    def options(self) -> dict[str, str]:
        """See `Runner.options`."""
        # Without an image or a setup file TFX packs itself for workers elsewhere, at every node: seconds, and 44 MB
        # that stay in the temporary folder. Workers on this machine look at neither.
        chosen = {"runner": self.runner, "sdk_container_image": "none"}
        if self.direct_num_workers not in (None, 1):
            chosen["direct_running_mode"] = "multi_processing"
        return chosen | super().options()


class DataflowRunner(Runner):
    """Google Cloud Dataflow. Project, region, temp_location, image and account are those of `vertex` where left out.

    Attributes:
      temp_location, staging_location: folders of a bucket.
      sdk_container_image: of the workers; it holds this source and its packages.
      setup_file: setup.py, whose packages the workers get; not needed where the image holds them.
      machine_type, num_workers, max_num_workers, disk_size_gb: left out, the service chooses.
      subnetwork: address of the workers' subnetwork; None for the default one.
    """

    runner: Literal["DataflowRunner"]
    project: str | None = None
    region: str | None = None
    temp_location: str | None = Field(default=None, pattern=r"^gs://")
    staging_location: str | None = Field(default=None, pattern=r"^gs://")
    sdk_container_image: str | None = None
    setup_file: str | None = None
    machine_type: str | None = None
    num_workers: int | None = Field(default=None, ge=1)
    max_num_workers: int | None = Field(default=None, ge=1)
    disk_size_gb: int | None = Field(default=None, ge=1)
    subnetwork: str | None = None
    service_account_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")

    @model_validator(mode="after")
    def _first_workers_are_not_too_many(self) -> "DataflowRunner":
        if self.num_workers and self.max_num_workers and self.num_workers > self.max_num_workers:
            raise ValueError(f"num_workers {self.num_workers} is more than max_num_workers {self.max_num_workers}")
        return self


class _Portable(Runner):
    """A cluster that is told of a pipeline through Beam's job service.

    Attributes:
      job_endpoint: host:port of a job service; left out, Beam starts one, for which it needs Java.
      artifact_endpoint: host:port that files are staged to; left out, the job service says.
      environment_type: where the workers' Python runs: DOCKER, PROCESS, EXTERNAL (a worker pool) or LOOPBACK (here).
      environment_config: DOCKER: the image, which holds this source and its packages; PROCESS: JSON with `command`;
        EXTERNAL: host:port of the pool.
      setup_file: setup.py, whose packages the workers get; not needed where the environment holds them.
      sdk_worker_parallelism: Python processes on each of the cluster's workers.
      job_server_timeout: seconds until a job is given up. Beam's own 60 would also end a job that runs.
    """

    job_endpoint: str | None = Field(default=None, pattern=r"^[^/\s]+:\d+$")
    artifact_endpoint: str | None = Field(default=None, pattern=r"^[^/\s]+:\d+$")
    environment_type: Literal["DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK"] = "DOCKER"
    environment_config: str | None = None
    setup_file: str | None = None
    sdk_worker_parallelism: int | None = Field(default=None, ge=0)
    job_server_timeout: int = Field(default=86_400, ge=1)

    @model_validator(mode="after")
    def _environment_is_whole(self) -> "_Portable":
        if self.environment_type == "LOOPBACK" and self.environment_config is not None:
            raise ValueError("environment_config: LOOPBACK has none; drop it")
        if self.environment_type != "LOOPBACK" and self.environment_config is None:
            raise ValueError(f"environment_config: {self.environment_type} needs one: an image, JSON or host:port")
        return self


class FlinkRunner(_Portable):
    """Apache Flink.

    Attributes:
      flink_master: host:port of the cluster, for the job service that Beam starts.
      parallelism: of each operation; left out, the cluster's own.
    """

    runner: Literal["FlinkRunner"]
    flink_master: str | None = None
    parallelism: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _leads_somewhere(self) -> "FlinkRunner":
        if (self.flink_master is None) == (self.job_endpoint is None):
            raise ValueError("give either flink_master or job_endpoint, to say where the cluster is")
        return self


class SparkRunner(_Portable):
    """Apache Spark.

    Attributes:
      spark_master_url: such as spark://host:7077, for the job service that Beam starts.
    """

    runner: Literal["SparkRunner"]
    spark_master_url: str | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> "SparkRunner":
        if (self.spark_master_url is None) == (self.job_endpoint is None):
            raise ValueError("give either spark_master_url or job_endpoint, to say where the cluster is")
        return self


def _direct_if_not_said(given: Any) -> Any:
    return {"runner": "DirectRunner"} | given if isinstance(given, dict) else given


AnyRunner = Annotated[
    DirectRunner | DataflowRunner | FlinkRunner | SparkRunner,
    Field(discriminator="runner"),
    BeforeValidator(_direct_if_not_said),
]


class BeamSettings(BaseModel):
    """The `beam` section.

    Attributes:
      default: of every Beam pipeline.
      nodes: one of `BEAM_NODES` -> what runs that instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: AnyRunner = DirectRunner()
    nodes: dict[str, AnyRunner] = {}

    @field_validator("nodes")
    @classmethod
    def _beam_runs_them(cls, nodes: dict[str, Runner]) -> dict[str, Runner]:
        for name in nodes:
            if name not in BEAM_NODES:
                raise ValueError(f"{name!r} is nothing that Beam runs; it runs {', '.join(BEAM_NODES)}")
        return nodes

    def runner_of(self, node: str) -> Runner:
        """What runs one of `BEAM_NODES`."""
        return self.nodes.get(node, self.default)
