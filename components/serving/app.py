"""The application: routes, how errors look, and the figures of every request."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.engine import Engine
from components.serving.page_api import page_routes
from components.serving.request_error import RequestError
from components.serving.settings import ServingSettings
from components.serving.tensorflow_api import tensorflow_routes

log = logging.getLogger("segpipe.serving")


def create_app(settings: ServingSettings) -> ASGIApp:
    """Everything that answers HTTP; it follows the serving folder while it runs."""
    engine = Engine(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(engine.store.watch())
        yield
        watching.cancel()

    app = Starlette(
        routes=[*page_routes(engine), *tensorflow_routes(engine)],
        lifespan=lifespan,
        exception_handlers={RequestError: _refused, HTTPException: _no_route},
    )
    return Watched(app, engine)


class Watched:
    """Counts and times each request, and answers what nobody foresaw as JSON, too."""

    def __init__(self, app: ASGIApp, engine: Engine):
        self._app, self._metrics = app, engine.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, status = time.perf_counter(), None

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if status is None:
                await _error(500, "the server failed; its log says why")(scope, receive, noting)
        finally:
            # Routes and not paths: a client could make up any number of paths.
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.seconds.labels(path).observe(time.perf_counter() - start)
            self._metrics.requests.labels(scope["method"], path, status or "none").inc()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps({"error": message}), status, headers, "application/json")


async def _refused(request: Request, error: RequestError) -> Response:
    headers = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _error(error.status, error.message, headers)


async def _no_route(request: Request, error: HTTPException) -> Response:
    return _error(error.status_code, f"{error.detail}: {request.method} {request.url.path}", error.headers)
