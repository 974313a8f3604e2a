"""TFX's components, with its inputs, outputs and arguments, whose Beam processes are watched."""

from tfx import components
from tfx.dsl.components.base import executor_spec

from components.watched.executors import BulkInferrerExecutor, StatisticsGenExecutor


class StatisticsGen(components.StatisticsGen):
    """Statistics of each split."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(StatisticsGenExecutor)


class BulkInferrer(components.BulkInferrer):
    """What a model answers to each example."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(BulkInferrerExecutor)
