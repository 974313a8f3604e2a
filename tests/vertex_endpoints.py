"""The endpoints of tests/vertex_service.py, and operations that take a while.

What it takes for granted of the service: an endpoint, and a model on it, is there once its operation has ended well;
the service names a project by its number; a model that is deployed twice under one id, a change of an endpoint while
another one runs, and taking down what gets traffic are errors.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from google.cloud.aiplatform_v1 import types
from google.longrunning import operations_pb2
from google.rpc import status_pb2

NUMBER = "123456"
"""Of the project."""


class Failed(Exception):
    """What an operation ends with that comes to no good; its text is what the service says."""


@dataclass
class Operations:
    """What has been begun on the service.

    Attributes:
      looks: how often an operation is looked at before it ends.
    """

    looks: int = 0
    _running: dict[str, tuple[list[int], Callable]] = field(default_factory=dict)
    _all: dict[str, operations_pb2.Operation] = field(default_factory=dict)

    def begin(self, resource: str, finish: Callable) -> operations_pb2.Operation:
        """Begins what `finish` does to a resource; that returns the response, or raises Failed."""
        name = f"{resource}/operations/{len(self._all) + 1}"
        self._all[name] = operations_pb2.Operation(name=name)
        self._running[name] = ([self.looks], finish)
        return self.look(name)

    def look(self, name: str) -> operations_pb2.Operation:
        operation = self._all[name]
        if not operation.done:
            left, finish = self._running[name]
            if left[0] > 0:
                left[0] -= 1
                return operation
            operation.done = True
            try:
                response = finish()
            except Failed as failed:
                operation.error.CopyFrom(status_pb2.Status(code=9, message=str(failed)))
            else:
                operation.response.Pack(response)
        return operation

    def of(self, resource: str) -> list[operations_pb2.Operation]:
        return [self.look(name) for name in self._all if name.startswith(f"{resource}/operations/")]

    def is_running(self, resource: str) -> bool:
        return any(not op.done for name, op in self._all.items() if name.startswith(f"{resource}/operations/"))


@dataclass
class Endpoints:
    """Endpoints by resource name.

    Attributes:
      failures: what the next deployments end with.
    """

    operations: Operations
    models: dict[str, list[types.Model]]
    held: dict[str, types.Endpoint] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def create(self, request: types.CreateEndpointRequest) -> operations_pb2.Operation:
        name = f"{request.parent}/endpoints/{request.endpoint_id}"
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", request.endpoint_id) and request.endpoint.display_name
        self._check_free(name)

        def finish():
            self.held[name] = types.Endpoint.deserialize(raw(request.endpoint).SerializeToString())
            self.held[name].name = name
            return raw(self.held[name])

        return self.operations.begin(name, finish)

    def deploy(self, request: types.DeployModelRequest) -> operations_pb2.Operation:
        endpoint, model = self.held[request.endpoint], request.deployed_model
        self._check_free(request.endpoint)
        there = {deployed.id for deployed in endpoint.deployed_models}
        assert re.fullmatch(r"[0-9]{1,10}", model.id) and model.id not in there, f"{model.id} is no id, or there"
        resource, _, version = model.model.partition("@")
        assert self.models[resource][int(version) - 1].container_spec.image_uri
        machines = model.dedicated_resources
        assert machines.machine_spec.machine_type and 1 <= machines.min_replica_count <= machines.max_replica_count
        split = {model.id if key == "0" else key: share for key, share in request.traffic_split.items()}
        assert sum(split.values()) == 100 and split.keys() <= there | {model.id}, f"a traffic of {split}"

        def finish():
            if self.failures:
                raise Failed(self.failures.pop(0))
            made = raw(endpoint).deployed_models.add()
            made.MergeFromString(raw(model).SerializeToString())
            made.model, made.model_version_id = resource.replace("pets-prod", NUMBER), version
            endpoint.traffic_split = split
            response = raw(types.DeployModelResponse())
            response.deployed_model.MergeFromString(made.SerializeToString())
            return response

        return self.operations.begin(request.endpoint, finish)

    def undeploy(self, request: types.UndeployModelRequest) -> operations_pb2.Operation:
        endpoint, gone = self.held[request.endpoint], request.deployed_model_id
        self._check_free(request.endpoint)
        assert not request.traffic_split and not endpoint.traffic_split.get(gone), f"{gone} gets traffic"
        (index,) = [n for n, deployed in enumerate(endpoint.deployed_models) if deployed.id == gone]

        def finish():
            del raw(endpoint).deployed_models[index]
            return raw(types.UndeployModelResponse())

        return self.operations.begin(request.endpoint, finish)

    def _check_free(self, name: str) -> None:
        assert not self.operations.is_running(name), "There are other operations running on the resource"


def raw(message):
    """The message of protobuf in one of Google's client.

    Parts of it are copied as bytes: once protobuf 3.20 has read an Any, it has other classes for what was in it.
    """
    return type(message).pb(message) if hasattr(type(message), "pb") else message
