"""Google's client, told where Vertex AI is, and what its errors mean. It speaks REST, which passes any proxy."""

import json
import os
import tempfile
from collections.abc import Iterator

from components.errors import UsageError
from pipeline.config import Config
from pipeline.remote_calls import Service, Trouble
from pipeline.vertex_settings import VertexSettings

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 60.0
_LONGEST_PAUSE = 20.0


def pauses() -> Iterator[float]:
    """Seconds between two looks at what takes minutes but may fail at once."""
    pause = 1.0
    while True:
        yield pause
        pause = min(1.5 * pause, _LONGEST_PAUSE)


def connect(settings: VertexSettings) -> Service:
    """Prepares Google's client for the project and region of the config.

    Args:
      settings: the section `vertex`.

    Raises:
      UsageError: if the section holds placeholders, the region is none, or this machine has no credentials.
    """
    placeholders = settings.placeholders()
    if placeholders:
        named = ", ".join(f"vertex.{name}" for name in placeholders)
        raise UsageError(f"{named}: still a placeholder; say in the config where the pipeline is to run")
    from google.cloud import aiplatform

    endpoint = _address(settings)
    try:
        aiplatform.init(
            project=settings.project,
            location=settings.region,
            credentials=_credentials(endpoint),
            api_endpoint=endpoint,
            api_transport="rest",
        )
    except ValueError as error:
        raise UsageError(f"vertex.region: Vertex AI is not in {settings.region}; name a region where it is") from error
    allowed = f"the role Vertex AI User in the project {settings.project} and write access to {settings.root}"
    return Service("Vertex AI", endpoint, allowed, _trouble)


def endpoint_client(settings: VertexSettings):
    """Google's client of endpoints, which `aiplatform.Endpoint` hides: that one waits for a deployment in one call.

    Args:
      settings: the section `vertex`, of which `connect` has been told.
    """
    from google.cloud import aiplatform

    address = _address(settings)
    options = {"api_endpoint": address}
    return aiplatform.gapic.EndpointServiceClient(
        credentials=_credentials(address), transport="rest", client_options=options
    )


def _address(settings: VertexSettings) -> str:
    return settings.endpoint or f"{settings.region}-aiplatform.googleapis.com"


def _credentials(endpoint: str):
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    if endpoint.startswith("http://"):
        return AnonymousCredentials()
    try:
        return google.auth.default(scopes=[_SCOPE])[0]
    except DefaultCredentialsError as error:
        raise UsageError(
            "this machine has no credentials for Google Cloud; run gcloud auth application-default login"
        ) from error


def _trouble(error: Exception) -> Trouble | None:
    """What an error of Google's clients says, or None for one that is not the service's."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.resumable_media import InvalidResponse
    from requests import RequestException

    if isinstance(error, GoogleAPICallError):
        return Trouble(int(error.code) if error.code is not None else None, _message(error.response) or error.message)
    if isinstance(error, InvalidResponse):
        return Trouble(error.response.status_code, _message(error.response) or str(error.args[0]))
    if isinstance(error, GoogleAuthError):
        return Trouble(401, str(error))
    if isinstance(error, RequestException):
        # Its text holds the whole request line.
        return Trouble(None, type(error).__name__)
    return None


def _message(response) -> str | None:
    """What a service says of an error, without the address that Google's clients put before it."""
    try:
        return response.json()["error"]["message"]
    except (AttributeError, ValueError, KeyError, TypeError):
        return None


def pipeline_job(config: Config, job: dict, job_id: str | None, values: dict[str, str], caching: bool | None = None):
    """The job as Google's client takes it.

    Args:
      config: names it.
      job: as compiled.
      job_id: under which it runs; None for one that a schedule runs.
      values: of its runtime parameters.
      caching: of all tasks; None leaves it as compiled.
    """
    from google.cloud import aiplatform

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "job.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(job, file)
        return aiplatform.PipelineJob(
            display_name=config.pipeline_name,
            template_path=path,
            job_id=job_id,
            parameter_values=values,
            enable_caching=caching,
            labels=config.vertex.labels,
        )


def start(config: Config, job) -> None:
    """Starts a job as the service account of the config.

    `PipelineJob.submit` would first ask Resource Manager whose bucket the root is, for a minute where it cannot be
    reached by gRPC, and go on whatever it is told.

    Args:
      config: says where it runs.
      job: of `pipeline_job`, with an id.
    """
    from google.cloud.aiplatform_v1.types import PipelineJob

    settings, resource = config.vertex, PipelineJob.from_json(json.dumps(job.to_dict()))
    resource.service_account = settings.service_account
    parent = f"projects/{settings.project}/locations/{settings.region}"
    job.api_client.create_pipeline_job(
        parent=parent, pipeline_job=resource, pipeline_job_id=job.job_id, timeout=_SECONDS
    )
