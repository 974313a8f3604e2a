"""SegmentationTransform: TFX's Transform, whose examples are written uncompressed."""

from tfx.components import Transform
from tfx.dsl.components.base import executor_spec

from components.transform.executor import Executor


class SegmentationTransform(Transform):
    """Inputs, outputs and arguments are those of TFX's Transform."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
