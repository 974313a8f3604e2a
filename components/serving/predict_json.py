"""The JSON of TensorFlow Serving's predict API, both ways.

    ask = read_request(b'{"instances": [{"b64": "..."}]}')              # row format, or "inputs": columnar
    inputs = read_inputs(ask, signature.inputs, max_instances)          # {"image_bytes": [b"..."]}
    write_answer(outputs, ask.row)                                      # b'{"predictions": [...]}' or outputs

The rules are those of https://www.tensorflow.org/tfx/serving/api_rest. Every input of a segpipe model is a vector of
strings, so nothing else is read.
"""

import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from components.serving.loaded_model import DEFAULT_SIGNATURE
from components.serving.request_error import RequestError

_BASE64, _BYTES_SUFFIX = "b64", "_bytes"


@dataclass(frozen=True)
class PredictRequest:
    """A request as it was sent.

    Attributes:
      signature: the one to run.
      row: True if the tensors came under `instances`, False if under `inputs`.
      value: what stood under that key.
    """

    signature: str
    row: bool
    value: Any


def read_request(body: bytes) -> PredictRequest:
    """Takes a request apart.

    Raises:
      RequestError: 400 if it is none.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(400, 'JSON Value: is not object; send {"instances": [...]} or {"inputs": ...}')
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise RequestError(400, "'signature_name' key must be a string value.")
    given = [key for key in ("instances", "inputs") if key in document]
    if len(given) != 1:
        problem = "expecting only one of 'inputs' or 'instances'" if given else "Missing 'inputs' or 'instances' key"
        raise RequestError(400, problem)
    return PredictRequest(signature or DEFAULT_SIGNATURE, given == ["instances"], document[given[0]])


def read_inputs(request: PredictRequest, names: list[str], max_instances: int) -> dict[str, list[bytes]]:
    """The input tensors of a request.

    Args:
      request: in either format.
      names: of the signature's inputs.
      max_instances: longest vector that is taken.

    Returns:
      A vector of byte strings for each name.

    Raises:
      RequestError: 400 if the request does not fit the names, 413 if it is too long.
    """
    columns = _columns_of_rows(request.value, names) if request.row else _columns(request.value, names)
    for name, column in columns.items():
        if not isinstance(column, list):
            raise RequestError(400, f"input {name} must be a list of strings, one for each photo")
        if len(column) > max_instances:
            raise RequestError(
                413, f"{len(column)} instances are more than {max_instances} (--max-instances); send several requests"
            )
    return {
        name: [_string(value, f"item {index} of {name}") for index, value in enumerate(column)]
        for name, column in columns.items()
    }


def _columns_of_rows(rows: Any, names: list[str]) -> dict[str, list]:
    if not isinstance(rows, list):
        raise RequestError(400, "Expecting 'instances' to be a list/array")
    if not rows:
        raise RequestError(400, "No values in 'instances' array")
    if not _is_named(rows[0]):
        if len(names) > 1:
            raise RequestError(400, f"instances is a plain list, but expecting objects of the inputs {names}")
        if any(_is_named(row) for row in rows):
            raise RequestError(400, "'instances' mixes values and objects of named inputs")
        return {names[0]: rows}
    for index, row in enumerate(rows):
        if not _is_named(row) or set(row) != set(names):
            raise RequestError(
                400,
                f"Failed to process element: {index} of 'instances' list. JSON object keys must be equal to: "
                + ",".join(names),
            )
    return {name: [row[name] for row in rows] for name in names}


def _columns(value: Any, names: list[str]) -> dict[str, Any]:
    if not _is_named(value):
        if len(names) > 1:
            raise RequestError(400, f"inputs is a plain value/list, but expecting an object of the inputs {names}")
        return {names[0]: value}
    missing = [name for name in names if name not in value]
    if missing:
        raise RequestError(400, f"Missing named input: {missing[0]} in 'inputs' object.")
    return {name: value[name] for name in names}


def _is_named(value: Any) -> bool:
    """Whether a value maps names of inputs to tensors; `{"b64": ...}` is a string."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: dict) -> bool:
    return len(value) == 1 and isinstance(value.get(_BASE64), str)


def _string(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and _is_base64(value):
        return _decoded(value[_BASE64], where)
    raise RequestError(400, f'{where} is neither a string nor {{"b64": "..."}}')


def _decoded(text: str, where: str) -> bytes:
    """Base64, padded or not, with or without white space."""
    digits = text.rstrip("=")
    try:
        content = binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
        # The decoder skips what is no digit, so a length that does not fit tells that there was some.
        if len(content) != len(digits) * 3 // 4:
            digits = "".join(text.split()).rstrip("=")
            content = binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"{where}: Unable to base64 decode") from error
    if len(content) != len(digits) * 3 // 4:
        raise RequestError(400, f"{where}: Unable to base64 decode")
    return content


def write_answer(outputs: dict[str, np.ndarray], row: bool) -> bytes:
    """The JSON of an answer.

    Args:
      outputs: tensors by name, all of the same first dimension.
      row: True for a list of predictions, False for a tensor a name. A single output stands without its name.

    Raises:
      RequestError: 400 if an output is binary and its name does not say so; 500 if one is not finite.
    """
    tensors = {name: _jsonable(name, value) for name, value in outputs.items()}
    if len(tensors) == 1:
        return _dumped({"predictions" if row else "outputs": next(iter(tensors.values()))})
    if not row:
        return _dumped({"outputs": tensors})
    items = zip(*tensors.values(), strict=True)
    return _dumped({"predictions": [dict(zip(tensors, item, strict=True)) for item in items]})


def _jsonable(name: str, value: np.ndarray) -> np.ndarray | list:
    if value.dtype != object:
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise RequestError(500, f"output {name} holds values that are no finite numbers; the model is broken")
        return np.ascontiguousarray(value)
    if name.endswith(_BYTES_SUFFIX):
        return _each(value, lambda item: {_BASE64: binascii.b2a_base64(item, newline=False).decode()})
    try:
        return _each(value, bytes.decode)
    except UnicodeDecodeError as error:
        # TensorFlow Serving would send JSON that no client can parse.
        raise RequestError(
            400,
            f"output {name} is binary, which JSON carries only under a name that ends in {_BYTES_SUFFIX}; "
            f"ask another signature",
        ) from error


def _each(value: np.ndarray, change) -> list:
    changed = np.empty(value.shape, object)
    changed.ravel()[:] = [change(item) for item in value.ravel()]
    return changed.tolist()


def _dumped(document: dict) -> bytes:
    # Arrays go in as they are: as lists of Python's floats they would take twenty times as long.
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
