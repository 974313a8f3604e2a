"""Lets in only as many requests as can be held, and reads their bodies within limits.

async with admission.admit(request) as body:
    ...
"""

import contextlib
from collections.abc import AsyncIterator

import anyio
from starlette.requests import ClientDisconnect, Request

from components.serving.metrics import Metrics
from components.serving.request_error import RequestError
from components.serving.settings import MIB, ServingSettings

_RETRY_AFTER = 1
_DISCARDED = 512 * MIB


class Admission:
    """Counts the requests inside and the bytes that they may come to hold."""

    def __init__(self, settings: ServingSettings, metrics: Metrics):
        self._settings, self._metrics = settings, metrics
        self._requests = self._bytes = 0

    @contextlib.asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body of a request; its bytes count until the block ends.

        Raises:
          RequestError: 413 if the body is too large, 408 if it takes too long, 503 if too many requests are inside.
        """
        try:
            size = self._reserved(request)
        except RequestError:
            await self._discard(request)
            raise
        self._requests += 1
        self._bytes += size
        self._metrics.in_flight.inc()
        try:
            yield await self._read(request)
        finally:
            self._requests -= 1
            self._bytes -= size
            self._metrics.in_flight.dec()

    def _reserved(self, request: Request) -> int:
        """Bytes that a request may come to hold: what its head announces, or the most that is allowed."""
        limit, announced = self._settings.max_request_bytes, request.headers.get("content-length")
        size = limit if announced is None else int(announced)
        if size > limit:
            raise _too_large(limit)
        # The first is let in whatever it holds, since waiting would not help it.
        full = self._requests > 0 and self._bytes + size > self._settings.max_waiting_bytes
        if full or self._requests >= self._settings.max_requests:
            self._metrics.refused.inc()
            message = f"{self._requests} requests are being answered already; send it again later"
            raise RequestError(503, message, _RETRY_AFTER)
        return size

    async def _read(self, request: Request) -> bytes:
        try:
            with anyio.fail_after(self._settings.body_seconds):
                return await self._collect(request)
        except TimeoutError as error:
            seconds = self._settings.body_seconds
            raise RequestError(408, f"the request did not arrive within {seconds:g} s; send it again") from error
        except ClientDisconnect as error:
            raise RequestError(400, "the client went away while it sent the request") from error

    async def _collect(self, request: Request) -> bytes:
        limit, chunks, size = self._settings.max_request_bytes, [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size <= limit + _DISCARDED:
                chunks.clear()
            else:
                break
        if size > limit:
            raise _too_large(limit)
        return b"".join(chunks)

    async def _discard(self, request: Request) -> None:
        """Reads on and keeps nothing: most clients look for an answer only when they have sent all."""
        left = _DISCARDED
        with contextlib.suppress(ClientDisconnect), anyio.move_on_after(self._settings.body_seconds):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


def _too_large(limit: int) -> RequestError:
    return RequestError(413, f"the request is larger than {limit} bytes (--max-request-bytes); send fewer photos")
