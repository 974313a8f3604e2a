"""What every route works with: the models, the limits, the figures, and threads that compute."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request

from components.serving.limits import Admission
from components.serving.loaded_model import LoadedModel
from components.serving.metrics import Metrics
from components.serving.model_store import ModelStore
from components.serving.settings import ServingSettings


class Engine:
    """The parts of one server.

    Attributes:
      settings: limits.
      metrics: figures.
      store: versions.
    """

    def __init__(self, settings: ServingSettings):
        self.settings, self.metrics = settings, Metrics()
        self.store = ModelStore(settings, self.metrics)
        self._admission = Admission(settings, self.metrics)
        self._workers = ThreadPoolExecutor(settings.workers, "answer")

    async def answer(self, request: Request, version: int | None, work: Callable[[LoadedModel, bytes], bytes]) -> bytes:
        """Reads a request's body and answers it with a model.

        Args:
          request: whose body is read.
          version: which version; None takes the live one.
          work: called in another thread with the model and the body; only so many run at once as there are workers.

        Returns:
          What `work` returns.

        Raises:
          RequestError: see `Admission.admit` and `ModelStore.lease`, and what `work` raises.
        """
        async with self._admission.admit(request) as body, self.store.lease(version) as model:
            return await asyncio.get_running_loop().run_in_executor(self._workers, work, model, body)
