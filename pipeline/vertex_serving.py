"""The command of the container that serves a version on an endpoint: the server of `segpipe serve` on a copy of it.

Vertex AI says in AIP_STORAGE_URI where its copy of the model is, and in AIP_HTTP_PORT where to listen. The rest of the
container is in `serving_container`, with which a version is registered.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

from components.errors import SegpipeError
from components.serving.settings import MODEL_NAME, ServingSettings
from pipeline.vertex_settings import VertexSettings

STORAGE, PORT = "AIP_STORAGE_URI", "AIP_HTTP_PORT"
VERSION = "SEGPIPE_VERSION"
"""Environment variable with the number under which the version is served."""


def serving_container(settings: VertexSettings, version: str) -> dict:
    """What serves a version, as arguments of Google's client.

    Args:
      settings: the section `vertex`, with `registry`.
      version: of the serving folder.
    """
    if settings.registry.image is not None:
        return {"serving_container_image_uri": settings.registry.image}
    return {
        "serving_container_image_uri": settings.image,
        "serving_container_command": ["python", "-m", "pipeline.vertex_serving"],
        "serving_container_environment_variables": {VERSION: version},
        "serving_container_ports": [8080],
        "serving_container_predict_route": f"/v1/models/{MODEL_NAME}:predict",
        "serving_container_health_route": "/healthz",
    }


def download(address: str, folder: Path) -> None:
    """Copies everything below an address of a bucket to a folder.

    Raises:
      SegpipeError: if nothing is there.
    """
    from google.cloud import storage

    bucket, _, prefix = address.removeprefix("gs://").rstrip("/").partition("/")
    prefix += "/"
    found = [blob for blob in storage.Client().list_blobs(bucket, prefix=prefix) if not blob.name.endswith("/")]
    if not found:
        raise SegpipeError(f"{address}: holds no model; register the version again")
    for blob in found:
        path = folder / blob.name.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(str(path))


def main() -> None:
    """Serves until SIGTERM."""
    from components.serving.server import listen, serve

    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("segpipe.serving").setLevel(logging.INFO)
    try:
        listening = listen("0.0.0.0", int(os.environ[PORT]))
        with tempfile.TemporaryDirectory() as folder:
            download(os.environ[STORAGE], Path(folder) / os.environ[VERSION])
            serve(ServingSettings(folder=folder), listening, lambda: print("serving", flush=True))
    except SegpipeError as error:
        print(f"segpipe: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
