"""The application: routes, how errors look, and the figures of every request."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
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
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(engine.store.watch())
        yield
        watching.cancel()

    # FastAPI's pages about the API would load scripts from elsewhere; /openapi.json stays.
    app = FastAPI(title="segpipe", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(page_routes(engine))
    app.include_router(tensorflow_routes(engine))
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _wrong_query)
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


async def _wrong_query(request: Request, error: RequestValidationError) -> Response:
    problem = error.errors()[0]
    return _error(400, f"{problem['loc'][-1]}: {problem['msg']}")
