"""Where and on what Vertex AI runs the pipeline; the `vertex` section of the config.

What is left out is a named placeholder, so that compiling needs no project of one's own; submitting refuses them.
"""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

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


class RegistrySettings(BaseModel):
    """Where pushed models are registered, from where an endpoint takes them.

    Attributes:
      model: id in the model registry; None takes the pipeline's name.
      image: container that serves a version of it, one of Google's or your own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_-]{0,62}$")
    image: str = Field(default="us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest", pattern=r"^\S+$")


class VertexTraining(BaseModel):
    """The machine of Vertex AI Training that the Trainer gets in a job of its own.

    Attributes:
      machine_type: such as n1-standard-8.
      accelerator: such as NVIDIA_TESLA_T4; None for none.
      accelerators: how many of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine_type: str = Field(pattern=r"^[a-z][a-z0-9-]+$")
    accelerator: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    accelerators: int = Field(default=1, ge=1)


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
      registry: None registers no model.
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
