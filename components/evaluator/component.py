"""SegmentationEvaluator: TFX's Evaluator, plus a summary of the verdict on its output."""

from tfx.components import Evaluator
from tfx.dsl.components.base import executor_spec

from components.evaluator.executor import Executor


class SegmentationEvaluator(Evaluator):
    """Inputs, outputs and blessing are those of TFX's Evaluator, which the latest-blessed resolver knows."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
