"""Kubeflow's client, told where the API is, and what its errors mean."""

import json
from urllib.parse import urlsplit

from components.errors import UsageError
from components.secrets import resolved
from pipeline.kubeflow_settings import PLACEHOLDER, KubeflowSettings
from pipeline.remote_calls import Service, Trouble, quiet_clients


def connect(settings: KubeflowSettings):
    """Opens Kubeflow's client.

    Args:
      settings: the section `kubeflow`.

    Returns:
      The client, a `kfp.Client`, and the service to ask with it.

    Raises:
      UsageError: if the section does not say where the API is, or holds a placeholder.
      SegpipeError: if the API refuses or cannot be reached.
    """
    if settings.endpoint is None:
        raise UsageError("kubeflow.endpoint: is missing; say at which address Kubeflow Pipelines takes runs")
    if settings.image.startswith(PLACEHOLDER):
        raise UsageError("kubeflow.image: still a placeholder; say in the config which image holds this source")
    token = resolved(settings.token, "kubeflow.token") if settings.token is not None else None
    parts = urlsplit(settings.endpoint)
    if token is not None and parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise UsageError("kubeflow.token: would be sent unencrypted; let kubeflow.endpoint begin with https://")
    import kfp
    import kfp_server_api

    allowed = f"the right to make runs{f' in the namespace {settings.namespace}' if settings.namespace else ''}"
    service = Service("Kubeflow Pipelines", settings.endpoint, allowed, _trouble)
    configuration = kfp_server_api.Configuration(host=settings.endpoint.rstrip("/"))
    if token is not None:
        configuration.api_key["authorization"] = token
        configuration.api_key_prefix["authorization"] = "Bearer"
    api = kfp_server_api.ApiClient(configuration)
    # The client asks this too, but hides what was answered; the method for it is named otherwise in each release.
    health = service.ask(
        lambda _: api.call_api(
            "/apis/v2beta1/healthz",
            "GET",
            response_type="V2beta1GetHealthzResponse",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
        )
    )
    if health.multi_user and settings.namespace is None:
        raise UsageError("kubeflow.namespace: is missing; this Kubeflow has several users, so say whose runs these are")
    with quiet_clients():
        client = kfp.Client(
            host=settings.endpoint,
            existing_token=token,
            **({"namespace": settings.namespace} if settings.namespace else {}),
        )
    return client, service


def _trouble(error: Exception) -> Trouble | None:
    """What an error of Kubeflow's client says, or None for one that is not the service's."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, ApiException):
        return Trouble(error.status or None, _message(error))
    if isinstance(error, HTTPError):
        reason = getattr(error, "reason", None)
        return Trouble(None, type(reason or error).__name__)
    return None


def _message(error) -> str:
    try:
        body = json.loads(error.body)
        return str(body.get("message") or body.get("error") or error.reason)
    except (TypeError, ValueError, AttributeError):
        return str(error.reason)
