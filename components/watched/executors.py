"""TFX's executors whose Beam processes are watched."""

from tfx.components.bulk_inferrer import executor as bulk_inferrer
from tfx.components.statistics_gen import executor as statistics_gen

from components.watched.processes import Watched


class StatisticsGenExecutor(Watched, statistics_gen.Executor):
    """Executor of StatisticsGen."""


class BulkInferrerExecutor(Watched, bulk_inferrer.Executor):
    """Executor of BulkInferrer."""
