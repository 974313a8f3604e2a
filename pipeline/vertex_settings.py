"""Where and on what Vertex AI runs the pipeline; the `vertex` section of the config.

What is left out is a named placeholder, so that compiling needs no project of one's own; submitting refuses them.
"""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PLACEHOLDER = "your-"
_ENDPOINT = r"^(http://(127\.0\.0\.1|localhost)(:\d+)?|(https://)?[A-Za-z0-9][-.A-Za-z0-9]*(:\d+)?)$"
_BUCKET_PATH = r"^gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[\w.=-]+)*$"


class NodeResources(BaseModel):
    """What the container of one node gets; Vertex AI chooses a machine type that has it.

    Attributes:
      cpus, memory_gb: at least that much; None leaves it to the service.
      accelerator: such as NVIDIA_TESLA_T4; None for none.
      accelerators: how many of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    accelerator: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    accelerators: int = Field(default=1, ge=1)


class Machine(BaseModel):
    """A machine of Vertex AI, by name.

    Attributes:
      machine_type: such as n1-standard-8.
      accelerator: such as NVIDIA_TESLA_T4; None for none.
      accelerators: how many of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine_type: str = Field(pattern=r"^[a-z][a-z0-9-]+$")
    accelerator: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    accelerators: int = Field(default=1, ge=1)

    def spec(self) -> dict:
        """The machine as a MachineSpec of Google's client."""
        machine: dict = {"machine_type": self.machine_type}
        if self.accelerator:
            machine |= {"accelerator_type": self.accelerator, "accelerator_count": self.accelerators}
        return machine


class VertexTraining(Machine):
    """The machine of Vertex AI Training that the Trainer gets in a job of its own."""


class Deployment(Machine):
    """The endpoint that serves the newest version, and on what.

    Attributes:
      endpoint: its id, by which it is found; one that is not there is made.
      min_replicas, max_replicas: how many such machines a version gets, by its load.
      traffic: percent of the requests that a new version gets; the rest stay with the version that has most of them.
      keep: how many versions without traffic stay deployed, and paid for, the newest ones.
    """

    endpoint: str = Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    traffic: int = Field(default=100, ge=1, le=100)
    keep: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _replicas(self) -> "Deployment":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas: {self.max_replicas} is below min_replicas, {self.min_replicas}; raise it")
        return self


class RegistrySettings(BaseModel):
    """Where pushed models are registered, and from where an endpoint takes them.

    Attributes:
      model: id in the model registry; None takes the pipeline's name.
      image: container that serves a version of it, one of Google's or your own; None takes the pipeline's, with the
        server of `segpipe serve` and the TensorFlow that the model was trained with.
      deploy: None deploys no version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_-]{0,62}$")
    image: str | None = Field(default=None, pattern=r"^\S+$")
    deploy: Deployment | None = None


class VertexSettings(BaseModel):
    """The `vertex` section.

    Attributes:
      project, region: where jobs run.
      root: folder of a bucket for data, artifacts and pushed models.
      image: container with this source installed.
      service_account: e-mail address that jobs and Dataflow's workers run as; None takes the project's default.
      endpoint: of the API, such as one of Private Service Connect; None takes the region's own. One that begins with
        http:// must be on this machine, and is told no credentials.
      labels: of every job.
      resources: node -> what its container gets.
      training: None trains in the Trainer's container.
      registry: None registers no model, and so deploys none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = Field(default="your-project", pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")
    region: str = Field(default="us-central1", pattern=r"^[a-z]+-[a-z]+\d+$")
    root: str = Field(default="gs://your-bucket/segpipe", pattern=_BUCKET_PATH)
    image: str = Field(default="us-central1-docker.pkg.dev/your-project/segpipe/segpipe:latest", min_length=1)
    service_account: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    endpoint: str | None = Field(default=None, pattern=_ENDPOINT)
    labels: dict[str, str] = {}
    resources: dict[str, NodeResources] = {}
    training: VertexTraining | None = None
    registry: RegistrySettings | None = None

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for key, value in labels.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                raise ValueError(f"{key!r}: {value!r} is no label; take lower-case letters, digits, _ and -")
        return labels

    def placeholders(self) -> list[str]:
        """Names of the fields that a job cannot run with as they are."""
        return [name for name in ("project", "root", "image") if PLACEHOLDER in getattr(self, name)]
