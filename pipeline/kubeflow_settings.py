"""The section `kubeflow` of the config: what Kubeflow Pipelines must know that the DAG does not say.

Every default is a name that stands for one of a cluster, so that a pipeline compiles before there is one.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components.secrets import REFERENCE
from pipeline.buckets import ADDRESS, is_address

PLACEHOLDER = "registry.example/"
"""What the image begins with that stands for one of a cluster; submitting refuses it."""

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys of the secret with the credentials for S3, and the variables that the containers get them as."""

_Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[EPTGMK]i?)?$")]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StepSettings(_Section):
    """What one container gets.

    Attributes:
      cpu, memory: limits in Kubernetes' notation, such as `4` and `8Gi`; None sets none.
      accelerator: resource name of a GPU, such as `nvidia.com/gpu`; None for none.
      accelerators: how many of them.
      node_selector: labels that the node of the cluster must have.
      retries: how often a step that fails is started again.
      retry_seconds: pause before the first of them; it doubles each time.
    """

    cpu: _Quantity | None = None
    memory: _Quantity | None = None
    accelerator: str | None = None
    accelerators: int = Field(default=1, ge=1, le=16)
    node_selector: dict[str, str] = {}
    retries: int = Field(default=2, ge=0, le=10)
    retry_seconds: int = Field(default=30, ge=0, le=3600)


class Volume(_Section):
    """A volume that every container mounts.

    Attributes:
      claim: name of the PersistentVolumeClaim; containers on several nodes need the access mode ReadWriteMany.
      path: where it is mounted.
    """

    claim: _Name
    path: str = Field(pattern=r"^/[^/]")


class Secret(_Section):
    """A key of a Kubernetes secret.

    Attributes:
      name, key: of the secret, and of the value in it.
    """

    name: _Name
    key: str = Field(min_length=1)


class MetadataSettings(_Section):
    """Where ML Metadata is kept.

    Attributes:
      kind: `mysql` connects to a MySQL or MariaDB server, `grpc` to the ML Metadata service of a cluster.
      host, port: of it; a port of None is 3306 or 8080.
      database, user: for MySQL; the database is made if the user may make it.
      password: for MySQL, the secret that holds it; None connects without one.
    """

    kind: Literal["mysql", "grpc"] = "mysql"
    host: str = Field(default="mysql", pattern=r"^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$")
    port: int | None = Field(default=None, ge=1, le=65535)
    database: str = Field(default="segpipe", pattern=r"^[A-Za-z0-9_]+$")
    user: str = Field(default="segpipe", pattern=r"^[A-Za-z0-9_.-]+$")
    password: Secret | None = Secret(name="segpipe-metadata", key="password")

    @property
    def address(self) -> str:
        """What the containers are told; see `pipeline.remote_metadata`."""
        if self.kind == "grpc":
            return f"grpc://{self.host}:{self.port or 8080}"
        return f"mysql://{self.user}@{self.host}:{self.port or 3306}/{self.database}"


class S3Settings(_Section):
    """How the containers reach a root on S3.

    Attributes:
      endpoint: of another service than Amazon's; None is Amazon's.
      region: of the bucket; None leaves it to the image's environment.
      credentials: name of the Kubernetes secret that holds `S3_KEYS`; None takes the role of the pod's service account.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    credentials: _Name | None = None


class KubeflowSettings(_Section):
    """How the pipeline runs on Kubeflow Pipelines.

    Attributes:
      image: of all containers, with this very source installed.
      python: the interpreter in it.
      root: the workspace that the containers share: a folder below the path of a volume, or the address of one in a
        bucket, `s3://` or `gs://`.
      volumes: what they mount; none by themselves where the root is in a bucket.
      s3: how they reach a root on S3.
      metadata: where ML Metadata is kept.
      step: what each container gets.
      steps: node -> what differs for that one.
      endpoint: address of Kubeflow Pipelines' API, which submit and schedule need.
      token: of the API's user, as `${NAME}` of an environment variable; None sends none.
      namespace: of the user's profile where Kubeflow has several users; None where it has one.
      experiment: that runs are listed under; None takes the pipeline's name.
      service_account: of Kubernetes, that the pods run as; None takes the backend's.
    """

    image: str = Field(default=f"{PLACEHOLDER}segpipe:0.1.0", pattern=r"^\S+$")
    python: str = "python"
    root: str = "/segpipe/workspace"
    volumes: list[Volume] = [Volume(claim="segpipe", path="/segpipe")]
    s3: S3Settings | None = None
    metadata: MetadataSettings = MetadataSettings()
    step: StepSettings = StepSettings()
    steps: dict[str, dict] = {}
    endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    token: str | None = None
    namespace: _Name | None = None
    experiment: str | None = Field(default=None, min_length=1)
    service_account: _Name | None = None

    @field_validator("token")
    @classmethod
    def _is_no_secret(cls, token: str | None) -> str | None:
        if token is not None and not REFERENCE.fullmatch(token):
            raise ValueError("holds a secret; write ${NAME} and set that environment variable")
        return token

    @field_validator("root")
    @classmethod
    def _is_a_path(cls, root: str) -> str:
        if not root.startswith("/") and not ADDRESS.fullmatch(root):
            raise ValueError(
                f"{root!r} is no absolute path; name a folder below the path of one of the volumes, or one in a bucket "
                f"as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
            )
        return root

    @model_validator(mode="after")
    def _root_is_on_a_volume(self) -> "KubeflowSettings":
        if self.s3 is not None and not self.root.startswith("s3://"):
            raise ValueError(f"s3 says how to reach a root on S3, and root is {self.root}; drop one of them")
        if not is_address(self.root) and not any(
            (self.root + "/").startswith(volume.path.rstrip("/") + "/") for volume in self.volumes
        ):
            paths = ", ".join(volume.path for volume in self.volumes) or "there are none"
            raise ValueError(f"root {self.root} lies on none of the volumes ({paths}), so steps could not share it")
        return self

    @model_validator(mode="after")
    def _steps_are_settings(self) -> "KubeflowSettings":
        for node in self.steps:
            try:
                self.of(node)
            except ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(map(str, (node, *problem["loc"])))
                raise ValueError(f"steps.{field}: {problem['msg']} (got {problem['input']!r})") from error
        return self

    @property
    def mounts(self) -> list[Volume]:
        """The volumes that the containers mount."""
        return [] if is_address(self.root) and "volumes" not in self.model_fields_set else self.volumes

    def of(self, node: str) -> StepSettings:
        """What the container of a node gets."""
        return StepSettings.model_validate(self.step.model_dump() | self.steps.get(node, {}))
