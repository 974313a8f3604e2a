"""The page, and what it asks for.

GET  /                         the page
GET  /api/versions             versions in the folder, which one is live, the limits
POST /api/segment[?version=N]  a photo as the body -> mask, class shares and confidence; see `segment`
GET  /healthz, /metrics
"""

import functools
from importlib import resources

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from components.serving.engine import Engine
from components.serving.loaded_model import LoadedModel
from components.serving.request_error import RequestError
from components.serving.segment import segment

_FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/drawing.js": "drawing.js"}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PAGE_HEADERS = {
    # Nothing comes from elsewhere, and no photo leaves for elsewhere; blob: is what the browser makes itself.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _SegmentQuery(BaseModel):
    """What may follow the `?` of `/api/segment`."""

    version: int | None = None
    photo: bool = False


def page_routes(engine: Engine) -> list[Route]:
    """The routes of the page and of those who watch the server."""

    async def versions(request: Request) -> Response:
        store, settings = engine.store, engine.settings
        failures = {version: failure.reason for version, failure in store.failures.items()}
        return _json(
            {
                "live": store.live,
                "versions": [{"version": v, "error": failures.get(v)} for v in reversed(store.listed)],
                "max_request_bytes": settings.max_request_bytes,
                "max_pixels": settings.max_pixels,
            }
        )

    async def segment_photo(request: Request) -> Response:
        query = _query(request)
        work = functools.partial(_segment, engine, query.photo)
        return Response(await engine.answer(request, query.version, work), media_type="application/json")

    async def healthz(request: Request) -> Response:
        """200 once a model has answered its warm-up, 503 before."""
        live = engine.store.live
        if live is None:
            return _json({"status": "no model", "reason": _why_none(engine)}, status=503)
        return _json({"status": "ok", "version": live})

    async def metrics(request: Request) -> Response:
        return Response(engine.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        *(Route(path, _static(name), methods=["GET"]) for path, name in _FILES.items()),
        Route("/api/versions", versions, methods=["GET"]),
        Route("/api/segment", segment_photo, methods=["POST"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def _static(name: str):
    content = (resources.files(__package__) / "page" / name).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=_PAGE_HEADERS)

    return send


def _query(request: Request) -> _SegmentQuery:
    try:
        return _SegmentQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        problem = error.errors()[0]
        raise RequestError(400, f"{problem['loc'][-1]}: {problem['msg']}") from error


def _segment(engine: Engine, with_photo: bool, model: LoadedModel, body: bytes) -> bytes:
    answer = orjson.dumps(segment(model, body, engine.settings.max_pixels, with_photo))
    engine.metrics.photos.inc()
    return answer


def _why_none(engine: Engine) -> str:
    failures = engine.store.failures
    if failures:
        newest = max(failures)
        return f"version {newest} cannot be loaded: {failures[newest].reason}"
    if engine.store.listed:
        return f"version {engine.store.listed[-1]} is being loaded"
    return f"{engine.settings.folder} holds no model yet; segpipe run pushes one"


def _json(document: dict, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
