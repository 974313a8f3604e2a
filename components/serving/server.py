"""Runs the application until it is told to stop, and then finishes what it has begun."""

import os
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from components.errors import UsageError
from components.machine import usable_cores
from components.serving.settings import ServingSettings

_SHUTDOWN_SECONDS = 30


def listen(host: str, port: int) -> socket.socket:
    """Takes the port, so that a taken one is told before TensorFlow is imported.

    Args:
      host: name or address.
      port: 0 takes a free one.

    Raises:
      UsageError: if it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --host or --port"
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Calls back once it takes requests."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]):
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


def share_cores() -> None:
    """Gives each operation of TensorFlow half of the cores, unless the environment says how many.

    A photo and its mirror image go through the net side by side, and requests do; where each operation was spread over
    two cores as TensorFlow does by itself, one photo took 1.4 times as long. TensorFlow reads the variable when it
    starts.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, usable_cores() // 2)))


def serve(settings: ServingSettings, listening: socket.socket, started: Callable[[], None]) -> None:
    """Answers requests until SIGINT or SIGTERM; then takes no new ones and ends when those inside are answered.

    Args:
      settings: folder and limits.
      listening: a bound socket.
      started: called once requests are taken.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again when it has finished; that is the end of the command, no failure.
        signal.signal(number, lambda *_: sys.exit(0))
    share_cores()
    # Brings TensorFlow along, which takes seconds.
    from components.serving.app import create_app

    config = uvicorn.Config(
        create_app(settings),
        # Together they answer one photo 0.4 of 9 ms sooner than asyncio's own loop and h11.
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        # Longer than common clients keep a connection, so that none meets one that is just being closed.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        lifespan="on",
    )
    Server(config, started).run([listening])
