"""Lets in only as many requests as can be held, and reads their bodies within limits.

async with admission.admit(request) as body:
    ...
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from components.serving.metrics import Metrics
from components.serving.request_error import RequestError
from components.serving.settings import ServingSettings

_RETRY_AFTER = 1


class Admission:
    """Counts the requests inside and the bytes that they may come to hold."""

    def __init__(self, settings: ServingSettings, metrics: Metrics):
        self._settings, self._metrics = settings, metrics
        self._requests = self._bytes = 0

    @asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body of a request; its bytes count until the block ends.

        Raises:
          RequestError: 413 if the body is too large, 408 if it takes too long, 503 if too many requests are inside.
        """
        size = self._announced(request)
        if (
            self._requests >= self._settings.max_requests
            or self._requests
            and self._bytes + size > self._settings.max_waiting_bytes
        ):
            self._metrics.refused.inc()
            raise RequestError(
                503, f"{self._requests} requests are being answered already; send it again later", _RETRY_AFTER
            )
        self._requests += 1
        self._bytes += size
        self._metrics.in_flight.inc()
        try:
            yield await self._read(request)
        finally:
            self._requests -= 1
            self._bytes -= size
            self._metrics.in_flight.dec()

    def _announced(self, request: Request) -> int:
        """Bytes to reserve: what the head announces, the most that is allowed if it announces nothing."""
        limit, announced = self._settings.max_request_bytes, request.headers.get("content-length")
        if announced is None:
            return limit
        if int(announced) > limit:
            raise _too_large(limit)
        return int(announced)

    async def _read(self, request: Request) -> bytes:
        try:
            return await asyncio.wait_for(self._collect(request), self._settings.body_seconds)
        except asyncio.TimeoutError as error:
            seconds = self._settings.body_seconds
            raise RequestError(408, f"the request did not arrive within {seconds:g} s; send it again") from error
        except ClientDisconnect as error:
            raise RequestError(400, "the client went away while it sent the request") from error

    async def _collect(self, request: Request) -> bytes:
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._settings.max_request_bytes:
                raise _too_large(self._settings.max_request_bytes)
            chunks.append(chunk)
        return b"".join(chunks)


def _too_large(limit: int) -> RequestError:
    return RequestError(413, f"the request is larger than {limit} bytes (--max-request-bytes); send fewer photos")
