"""TensorFlow Serving's REST API on the pushed versions, as https://www.tensorflow.org/tfx/serving/api_rest has it.

GET  /v1/models/segpipe[/versions/N]            which versions there are
GET  /v1/models/segpipe[/versions/N]/metadata   signatures
POST /v1/models/segpipe[/versions/N]:predict

One thing is added: a JPEG that is turned by EXIF is turned upright before the model sees it.
"""

import functools
import inspect
from collections.abc import Callable

import orjson
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2

from components.serving.engine import Engine
from components.serving.loaded_model import LoadedModel
from components.serving.photos import check_example, checked_photo
from components.serving.predict_json import read_inputs, read_request, write_answer
from components.serving.request_error import RequestError
from components.serving.settings import MODEL_NAME

_JSON, _MODELS = "application/json", "/v1/models"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def tensorflow_routes(engine: Engine) -> list[Route]:
    """The routes below `/v1`."""

    async def ask(request: Request) -> Response:
        return await _ask(engine, request)

    async def status(request: Request) -> Response:
        _check_name(request)
        version, listed = _version(request), engine.store.listed
        if version is not None and version not in listed:
            raise RequestError(404, f"Could not find version {version} of model {MODEL_NAME}")
        return _statuses(engine, listed if version is None else [version])

    async def metadata(request: Request) -> Response:
        return await _metadata(engine, request)

    async def other(request: Request) -> Response:
        raise _malformed(request)

    routes = []
    for model in (f"{_MODELS}/{{model}}", f"{_MODELS}/{{model}}/versions/{{version}}"):
        routes += [
            Route(f"{model}:{{verb}}", ask, methods=["POST"]),
            Route(model, status, methods=["GET"]),
            Route(f"{model}/metadata", metadata, methods=["GET"]),
        ]
    return [*routes, Route(f"{_MODELS}/{{rest:path}}", other, methods=_METHODS)]


def _malformed(request: Request) -> RequestError:
    return RequestError(400, f"Malformed request: {request.method} {request.url.path}")


def _check_name(request: Request) -> None:
    model = request.path_params["model"]
    if ":" in model:
        raise _malformed(request)
    if model != MODEL_NAME:
        raise RequestError(404, f"Servable not found for request: Latest({model}); the model here is {MODEL_NAME}")


def _version(request: Request) -> int | None:
    """The version that the path names, if it does."""
    version = request.path_params.get("version")
    if version is None:
        return None
    if not (version.isascii() and version.isdecimal()):
        raise _malformed(request)
    return int(version)


async def _ask(engine: Engine, request: Request) -> Response:
    version, verb = _version(request), request.path_params["verb"]
    _check_name(request)
    if verb in ("classify", "regress"):
        raise RequestError(400, f"{MODEL_NAME} has no signature for {verb}; it segments photos: send :predict")
    if verb != "predict":
        raise _malformed(request)
    return Response(await engine.answer(request, version, functools.partial(_predict, engine)), media_type=_JSON)


def _predict(engine: Engine, model: LoadedModel, body: bytes) -> bytes:
    ask = read_request(body)
    limits = engine.settings
    inputs = read_inputs(ask, list(model.inputs(ask.signature)), limits.max_instances)
    checked = {name: [_CHECKS[name](item, limits.max_pixels) for item in column] for name, column in inputs.items()}
    answer = write_answer(model.ask(ask.signature, checked), ask.row)
    engine.metrics.photos.inc(len(next(iter(checked.values()))))
    return answer


def _checked_example(serialised: bytes, max_pixels: int) -> bytes:
    check_example(serialised, max_pixels)
    return serialised


_CHECKS: dict[str, Callable[[bytes, int], bytes]] = {"image_bytes": checked_photo, "examples": _checked_example}
"""Name of an input -> what is done with each of its items before the model sees it."""


def _statuses(engine: Engine, versions: list[int]) -> Response:
    """All versions in the folder answer when they are named, so they are available, in memory or not."""
    if not versions:
        raise RequestError(404, f"Could not find any versions of model {MODEL_NAME}; no model is pushed yet")
    found = []
    for version in reversed(versions):
        failure = engine.store.failures.get(version)
        status = {"error_code": "UNKNOWN" if failure else "OK", "error_message": failure.reason if failure else ""}
        found.append({"version": str(version), "state": "END" if failure else "AVAILABLE", "status": status})
    return Response(orjson.dumps({"model_version_status": found}), media_type=_JSON)


# protobuf renamed the option, so that none of its names is known to both TFX.
_ALL_FIELDS = next(
    name
    for name in ("always_print_fields_with_no_presence", "including_default_value_fields")
    if name in inspect.signature(json_format.MessageToDict).parameters
)


async def _metadata(engine: Engine, request: Request) -> Response:
    version = _version(request)
    _check_name(request)
    async with engine.store.lease(version) as loaded:
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=loaded.signature_defs)
        document = {
            "model_spec": {"name": MODEL_NAME, "signature_name": "", "version": str(loaded.version)},
            "metadata": {
                "signature_def": json_format.MessageToDict(
                    signatures, preserving_proto_field_name=True, **{_ALL_FIELDS: True}
                )
            },
        }
    return Response(orjson.dumps(document), media_type=_JSON)
