"""SegmentationTrainer: TFX's Trainer, plus the run's id in the description of the export."""

from tfx.components import Trainer
from tfx.dsl.components.base import executor_spec

from components.trainer.executor import Executor


class SegmentationTrainer(Trainer):
    """Inputs, outputs and arguments are those of TFX's Trainer."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
