"""A client of TensorFlow Serving, written against its documentation and nothing of this project.

https://www.tensorflow.org/tfx/serving/api_rest: status, metadata and predict, row and columnar, bytes as `b64`.
"""

import base64
import json
import urllib.error
import urllib.request


class ServingError(Exception):
    """An error answer: its status, and the message under `error`."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def b64(content: bytes) -> dict:
    """How the documentation wants binary values."""
    return {"b64": base64.b64encode(content).decode()}


class Client:
    """Talks to `http://host:port/v1/models/<name>[/versions/<version>]`."""

    def __init__(self, url: str, name: str, version: int | None = None):
        self._url = f"{url}/v1/models/{name}" + (f"/versions/{version}" if version is not None else "")

    def status(self) -> list[dict]:
        return self._call("")["model_version_status"]

    def metadata(self) -> dict:
        return self._call("/metadata")

    def predict_rows(self, instances, signature: str | None = None):
        """Row format: `instances` -> `predictions`."""
        return self._predict({"instances": instances}, signature)["predictions"]

    def predict_columns(self, inputs, signature: str | None = None):
        """Columnar format: `inputs` -> `outputs`."""
        return self._predict({"inputs": inputs}, signature)["outputs"]

    def call(self, verb: str, document: dict) -> dict:
        return self._call(f":{verb}", json.dumps(document).encode())

    def _predict(self, document: dict, signature: str | None) -> dict:
        return self.call("predict", document | ({} if signature is None else {"signature_name": signature}))

    def _call(self, path: str, body: bytes | None = None) -> dict:
        try:
            with urllib.request.urlopen(self._url + path, body, timeout=240) as response:
                assert response.headers["Content-Type"] == "application/json"
                return json.load(response)
        except urllib.error.HTTPError as error:
            document = json.load(error)
            assert set(document) == {"error"}
            raise ServingError(error.code, document["error"]) from error


def decoded(value: dict) -> bytes:
    """The bytes of a `b64` object in an answer."""
    assert set(value) == {"b64"}
    return base64.b64decode(value["b64"], validate=True)
