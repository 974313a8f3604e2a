"""ModelCanary: a model that does not load or answer is never blessed, so it can be no baseline either."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.model_canary.executor import Executor


class ModelCanarySpec(component_spec.ComponentSpec):
    """`model`: the export. `examples`: raw examples whose photos it is asked about. `fingerprint`: of the code."""

    PARAMETERS = {"fingerprint": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ModelCanary(base_component.BaseComponent):
    """Queries the model in a fresh process without this project; raises, or gives the InfraBlessing."""

    SPEC_CLASS = ModelCanarySpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: channel.BaseChannel, examples: channel.BaseChannel, fingerprint: str):
        blessing = channel.OutputChannel(standard_artifacts.InfraBlessing, self, "blessing")
        super().__init__(ModelCanarySpec(model=model, examples=examples, fingerprint=fingerprint, blessing=blessing))
