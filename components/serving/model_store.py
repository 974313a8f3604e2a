"""Which version answers: watches the serving folder, loads what is asked for, unloads what is not.

    async with store.lease(None) as model:      # the live one, or a version by number
        ...                                     # it stays in memory until here, whatever happens to its folder

The highest version that loads is live, as in TensorFlow Serving. The next one is loaded and warmed up beside it before
it takes over, so no request waits or is lost. Others load when a client names them. All state belongs to one event loop
and changes only between its awaits; loading itself happens in one other thread, one version at a time.
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from components.pusher.versions import list_versions
from components.serving.loaded_model import LoadedModel
from components.serving.metrics import Metrics
from components.serving.request_error import RequestError
from components.serving.settings import MODEL_NAME, ServingSettings

log = logging.getLogger("segpipe.serving")


@dataclass
class _Entry:
    model: LoadedModel
    leases: int = 0
    used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Failure:
    """Why a version could not be loaded, and when that was (of `time.monotonic`)."""

    reason: str
    when: float


class ModelStore:
    """The versions of one serving folder.

    Attributes:
      live: the version that unversioned requests get; None while there is none.
      listed: versions in the folder, ascending, as last seen.
      failures: version -> why it could not be loaded.
    """

    def __init__(self, settings: ServingSettings, metrics: Metrics, read: Callable = LoadedModel):
        self._settings, self._metrics, self._read = settings, metrics, read
        self.live: int | None = None
        self.listed: list[int] = []
        self.failures: dict[int, Failure] = {}
        self._entries: dict[int, _Entry] = {}
        self._loader = ThreadPoolExecutor(1, "load")
        self._loading = asyncio.Lock()
        self._released = asyncio.Event()

    @property
    def loaded(self) -> list[int]:
        """Versions in memory, ascending."""
        return sorted(self._entries)

    async def watch(self) -> None:
        """Follows the folder until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001, whatever happens once, the folder must be followed on
                log.exception("%s cannot be followed; trying again", self._settings.folder)
            await asyncio.sleep(self._settings.poll_seconds)

    async def refresh(self) -> None:
        """Takes in what is new in the folder and lets go of what is gone or idle."""
        self.listed = await self._in_loader(list_versions, self._settings.folder)
        self.failures = {version: why for version, why in self.failures.items() if version in self.listed}
        for version in reversed(self.listed):
            if version == self.live:
                break
            if not self._failed_lately(version):
                try:
                    await self._entry(version)
                except RequestError:
                    # It is logged and counted where it was raised; the next lower version stays or becomes live.
                    continue
                self._go_live(version)
                break
        if self.live not in self.listed:
            self._go_live(None)
        await self._unload_unneeded()

    @asynccontextmanager
    async def lease(self, version: int | None) -> AsyncIterator[LoadedModel]:
        """Keeps a version in memory while it is used.

        Args:
          version: a number, or None for the live one.

        Raises:
          RequestError: 404 if there is no such version or none at all, 503 if it cannot be had now.
        """
        wanted = self.live if version is None else version
        if wanted is None:
            raise RequestError(404, f"Servable not found for request: Latest({MODEL_NAME}); no model is pushed yet")
        entry = await self._entry(wanted)
        entry.leases += 1
        try:
            yield entry.model
        finally:
            entry.leases -= 1
            entry.used = time.monotonic()
            self._released.set()

    async def _entry(self, version: int) -> _Entry:
        if version not in self._entries:
            async with self._loading:
                # Another request may have loaded it while this one waited.
                if version not in self._entries:
                    await self._load(version)
                return self._entries[version]
        return self._entries[version]

    async def _load(self, version: int) -> None:
        if version not in await self._in_loader(list_versions, self._settings.folder):
            raise RequestError(404, f"Servable not found for request: Specific({MODEL_NAME}, {version})")
        if self._failed_lately(version):
            raise RequestError(503, f"version {version} cannot be loaded: {self.failures[version].reason}")
        await self._make_room(version)
        start = time.monotonic()
        try:
            model = await self._in_loader(self._read, self._settings.folder, version)
        except Exception as error:  # noqa: BLE001, whatever a broken model raises, the others must go on answering
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.failures[version] = Failure(reason, time.monotonic())
            self._metrics.load_failures.inc()
            log.error("version %d cannot be loaded: %s; live is %s", version, reason, self.live)
            raise RequestError(503, f"version {version} cannot be loaded: {reason}") from error
        self.failures.pop(version, None)
        self._metrics.load_seconds.observe(time.monotonic() - start)
        self._entries[version] = _Entry(model)
        self._metrics.loaded.set(len(self._entries))

    async def _make_room(self, version: int) -> None:
        """Waits until one version more may be in memory."""
        deadline = time.monotonic() + self._settings.retry_seconds
        while len(self._entries) >= self._settings.max_loaded:
            idle = [v for v, entry in self._entries.items() if not entry.leases and v != self.live]
            if idle:
                await self._unload(min(idle, key=lambda v: self._entries[v].used))
                continue
            self._released.clear()
            try:
                await asyncio.wait_for(self._released.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError as error:
                raise RequestError(
                    503, f"version {version} finds no room, the {len(self._entries)} in memory are in use", 5
                ) from error

    async def _unload_unneeded(self) -> None:
        for version in self.loaded:
            if self._is_unneeded(version):
                await self._unload(version)

    def _is_unneeded(self, version: int) -> bool:
        entry, idle_since = self._entries[version], time.monotonic() - self._settings.idle_seconds
        return version != self.live and not entry.leases and (version not in self.listed or entry.used < idle_since)

    async def _unload(self, version: int) -> None:
        del self._entries[version]
        self._metrics.loaded.set(len(self._entries))
        log.info("version %d is unloaded", version)
        # Part of a SavedModel refers to itself in circles: without this, 16 loads in a row left 80 MB behind.
        await self._in_loader(gc.collect)

    def _go_live(self, version: int | None) -> None:
        if version != self.live:
            self.live = version
            self._metrics.live_version.set(version or 0)
            log.info("no model is left in %s", self._settings.folder) if version is None else log.info(
                "version %d is live", version
            )

    def _failed_lately(self, version: int) -> bool:
        failure = self.failures.get(version)
        return failure is not None and time.monotonic() < failure.when + self._settings.retry_seconds

    async def _in_loader(self, work: Callable, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._loader, work, *arguments)
