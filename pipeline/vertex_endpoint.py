"""VertexEndpoint: deploys what VertexRegistry registered to an endpoint, and takes down what served before.

A deployed model has the pushed version as its id, so whoever tries again deploys nothing twice. One that is there
already keeps the traffic that it has: whoever moved that since must not be overruled by a second try.
"""

import time
from collections.abc import Callable

from absl import logging
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, component_spec, standard_artifacts

from components.errors import SegpipeError
from pipeline.vertex_client import connect, endpoint_client, pauses
from pipeline.vertex_registry import RESOURCE, VERSION, settings_from, settings_text
from pipeline.vertex_settings import VertexSettings

ENDPOINT = "endpoint"
"""Custom property of the output: name of the endpoint; empty where nothing was pushed."""

_SECONDS = 60.0
# How a request calls what it is about to deploy.
_NEW = "0"


class Executor(base_executor.BaseExecutor):
    """Executor of VertexEndpoint."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Deploys the registered version; sets `endpoint` of `deployed_model`."""
        registered = artifact_utils.get_single_instance(input_dict["registered_model"])
        deployed = artifact_utils.get_single_instance(output_dict["deployed_model"])
        resource = registered.get_string_custom_property(RESOURCE)
        if not resource:
            logging.info("nothing was pushed, so nothing is deployed")
            deployed.set_string_custom_property(ENDPOINT, "")
            return
        version = registered.get_string_custom_property(VERSION)
        endpoint = deploy(settings_from(exec_properties["settings"]), resource, version)
        logging.info("%s serves version %s", endpoint, version)
        deployed.set_string_custom_property(ENDPOINT, endpoint)


def deploy(settings: VertexSettings, resource: str, version: str) -> str:
    """Lets an endpoint serve a version, unless it does, and undeploys older ones that get no traffic.

    Args:
      settings: the section `vertex`, with `registry.deploy`.
      resource: name of the version in the model registry.
      version: of the serving folder.

    Returns:
      Name of the endpoint, as Vertex AI knows it.

    Raises:
      SegpipeError: if the service refuses or cannot be reached, or the version does not start to serve.
    """
    endpoint = _Endpoint(settings)
    endpoint.make()
    endpoint.deploy(resource, version)
    for old in endpoint.unused(resource, version):
        endpoint.undeploy(old)
    return endpoint.name


class _Endpoint:
    """One endpoint of a config.

    Attributes:
      name: as Vertex AI knows it.
    """

    def __init__(self, settings: VertexSettings):
        self._settings, self._wanted = settings, settings.registry.deploy
        self._service, self._client = connect(settings), endpoint_client(settings)
        self._parent = f"projects/{settings.project}/locations/{settings.region}"
        self.name = f"{self._parent}/endpoints/{self._wanted.endpoint}"

    def make(self) -> None:
        """Makes it, if it is not there."""
        from google.cloud.aiplatform_v1.types import Endpoint

        content = Endpoint(display_name=self._wanted.endpoint, labels=self._settings.labels)
        self._change(
            lambda endpoint: endpoint is not None,
            lambda _: self._client.create_endpoint(
                parent=self._parent, endpoint=content, endpoint_id=self._wanted.endpoint, timeout=_SECONDS
            ),
            "cannot be made",
        )

    def deploy(self, resource: str, version: str) -> None:
        """Lets it serve a version, with the traffic that the config says."""
        from google.cloud.aiplatform_v1.types import DedicatedResources, DeployedModel

        wanted = self._wanted
        model = DeployedModel(
            id=version,
            model=resource,
            display_name=f"{_model_of(resource)}-{version}",
            dedicated_resources=DedicatedResources(
                machine_spec=wanted.spec(),
                min_replica_count=wanted.min_replicas,
                max_replica_count=wanted.max_replicas,
            ),
        )
        self._change(
            lambda endpoint: version in _deployed(endpoint),
            lambda endpoint: self._client.deploy_model(
                endpoint=self.name,
                deployed_model=model,
                traffic_split=_split(endpoint, wanted.traffic),
                timeout=_SECONDS,
            ),
            f"does not serve version {version}",
        )

    def unused(self, resource: str, version: str) -> list[str]:
        """Ids of what is deployed of the same model, gets no traffic, and is not to be kept."""
        endpoint = self._service.ask(lambda _: self._read())
        idle = [
            model
            for model in endpoint.deployed_models
            if _model_of(model.model) == _model_of(resource)
            and model.id != version
            and not endpoint.traffic_split.get(model.id)
        ]
        # Versions only grow.
        newest_first = sorted((model.id for model in idle), key=int, reverse=True)
        return newest_first[self._wanted.keep :]

    def undeploy(self, deployed: str) -> None:
        """Takes down what gets no traffic."""
        self._change(
            lambda endpoint: deployed not in _deployed(endpoint),
            lambda _: self._client.undeploy_model(endpoint=self.name, deployed_model_id=deployed, timeout=_SECONDS),
            f"does not undeploy {deployed}",
        )

    def _change(self, is_made: Callable, start: Callable, failed: str) -> None:
        """Changes it unless that is done, and waits for the end; what was begun by an earlier try is waited for, too.

        Args:
          is_made: whether an endpoint, or None, is as it is to be.
          start: endpoint -> the operation that makes it so.
          failed: completes the sentence "endpoint ...", for an error.
        """
        from google.api_core.exceptions import AlreadyExists, Conflict

        operation = None

        def look(_: bool) -> bool:
            nonlocal operation
            if operation is None:
                # In this order, what ends in between is seen.
                is_busy, endpoint = self._is_busy(), self._read()
                if is_made(endpoint):
                    return True
                if is_busy:
                    return False
                try:
                    operation = start(endpoint)
                except (AlreadyExists, Conflict):
                    # Someone else has begun the same, and it is not there yet.
                    return False
            return operation.done()

        for pause in pauses():
            if self._service.ask(look):
                break
            time.sleep(pause)
        if operation is not None and (error := operation.exception(timeout=_SECONDS)):
            raise SegpipeError(f"endpoint {self._wanted.endpoint} {failed}: {error.message}; Vertex AI's log says why")

    def _read(self):
        from google.api_core.exceptions import NotFound

        try:
            return self._client.get_endpoint(name=self.name, timeout=_SECONDS)
        except NotFound:
            return None

    def _is_busy(self) -> bool:
        """Whether something changes it now, such as what a try whose answer was lost has begun."""
        from google.api_core.exceptions import NotFound
        from google.longrunning.operations_pb2 import ListOperationsRequest

        token, more = "", True
        while more:
            request = ListOperationsRequest(name=self.name, page_token=token)
            try:
                page = self._client.list_operations(request, timeout=_SECONDS)
            except NotFound:
                return False
            if not all(operation.done for operation in page.operations):
                return True
            token = page.next_page_token
            more = bool(token)
        return False


def _deployed(endpoint) -> set[str]:
    return {model.id for model in endpoint.deployed_models}


def _split(endpoint, traffic: int) -> dict[str, int]:
    """Who gets how many percent of the requests once the new version serves."""
    before = {deployed: percent for deployed, percent in endpoint.traffic_split.items() if percent}
    if not before or traffic == 100:
        return {_NEW: 100}
    return {_NEW: traffic, max(before, key=before.get): 100 - traffic}


def _model_of(resource: str) -> str:
    """Id of a model in the registry; the service may name the project by its number."""
    return resource.rpartition("/")[2].partition("@")[0]


class VertexEndpointSpec(component_spec.ComponentSpec):
    """`settings`: see `settings_text`. `fingerprint`: hash of the code."""

    PARAMETERS = {name: component_spec.ExecutionParameter(type=str) for name in ("settings", "fingerprint")}
    INPUTS = {"registered_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    OUTPUTS = {"deployed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class VertexEndpoint(base_component.BaseComponent):
    """Deploys what was registered."""

    SPEC_CLASS = VertexEndpointSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, registered_model: channel.BaseChannel, settings: VertexSettings, fingerprint: str):
        spec = VertexEndpointSpec(
            registered_model=registered_model,
            settings=settings_text(settings),
            fingerprint=fingerprint,
            deployed_model=channel.OutputChannel(standard_artifacts.PushedModel, self, "deployed_model"),
        )
        super().__init__(spec)
