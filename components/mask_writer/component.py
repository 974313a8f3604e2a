"""MaskWriter: what BulkInferrer found, as records that clients read."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, channel, component_spec, standard_artifacts

from components.mask_writer.executor import Executor


class MaskRecords(artifact.Artifact):
    """Sharded records of masks and their manifest."""

    TYPE_NAME = "MaskRecords"


class MaskWriterSpec(component_spec.ComponentSpec):
    """`examples`: what went into BulkInferrer. `predictions`: what came out. `fingerprint`: of the code."""

    PARAMETERS = {
        "source": component_spec.ExecutionParameter(type=str),
        "model_version": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "predictions": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"masks": component_spec.ChannelParameter(type=MaskRecords)}


class MaskWriter(base_component.BaseComponent):
    """Writes one record per photo, or raises if a photo has none."""

    SPEC_CLASS = MaskWriterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        predictions: channel.BaseChannel,
        model: channel.BaseChannel,
        source: str,
        model_version: str,
        fingerprint: str,
    ):
        spec = MaskWriterSpec(
            examples=examples,
            predictions=predictions,
            model=model,
            source=source,
            model_version=model_version,
            fingerprint=fingerprint,
            masks=channel.OutputChannel(MaskRecords, self, "masks"),
        )
        super().__init__(spec)
