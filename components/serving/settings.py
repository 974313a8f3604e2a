"""What a user may choose about serving; the options of `segpipe serve`."""

from dataclasses import dataclass, field

from components.machine import usable_cores

MODEL_NAME = "segpipe"
"""The model's name in URLs."""

MIB = 2**20


@dataclass(frozen=True)
class ServingSettings:
    """Where the models lie and how much a client may ask for.

    Attributes:
      folder: the serving folder, `<folder>/<version>/` per model.
      max_pixels: largest photo that is decoded; a larger one is refused by its header.
      max_request_bytes: largest body of a request.
      max_instances: most photos in one request.
      max_requests: requests that are read, worked on or waiting at once; further ones are told to come again.
      max_waiting_bytes: what their bodies may hold together.
      max_loaded: versions in memory at once, the live one included; at least 2, so that the next can load beside it.
      poll_seconds: how often the folder is looked at for new versions.
      idle_seconds: a version that is not live and was not asked for so long is unloaded.
      retry_seconds: a version that could not be loaded is tried again after so long.
      body_seconds: a client that takes longer to send its request is given up.
      workers: requests that are computed at once.
    """

    folder: str
    max_pixels: int = 100_000_000
    max_request_bytes: int = 32 * MIB
    max_instances: int = 64
    max_requests: int = 64
    max_waiting_bytes: int = 512 * MIB
    max_loaded: int = 2
    poll_seconds: float = 1.0
    idle_seconds: float = 300.0
    retry_seconds: float = 30.0
    body_seconds: float = 60.0
    workers: int = field(default_factory=usable_cores)
