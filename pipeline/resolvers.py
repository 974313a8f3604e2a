"""A resolver that fails ends the run.

TFX records the failure and goes on: without LatestBlessedModel the Evaluator would compare with nothing, and a model
that is worse than the blessed one would be pushed.
"""

import contextlib
from collections.abc import Iterator

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.portable import launcher

from components.errors import SegpipeError


def insisting(launcher_class: type[launcher.Launcher]) -> type[launcher.Launcher]:
    """A launcher like another one, that raises where a resolver has failed."""

    class Launcher(launcher_class):
        def launch(self):
            info = super().launch()
            if self._system_node_handler and info is not None and info.execution_id is not None:
                self._insist_on(info.execution_id)
            return info

        def _insist_on(self, execution_id: int) -> None:
            with self._mlmd_connection as handle:
                (execution,) = handle.store.get_executions_by_id([execution_id])
            if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
                name = self._pipeline_node.node_info.id
                raise SegpipeError(f"{name} could not look up its models, the log says why; mend that and run again")

    return Launcher


@contextlib.contextmanager
def failed_resolvers_raise() -> Iterator[None]:
    """Makes TFX's runners raise where a resolver has failed, also under another launcher that is in place already."""
    original = launcher.Launcher
    launcher.Launcher = insisting(original)
    try:
        yield
    finally:
        launcher.Launcher = original
