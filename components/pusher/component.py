"""AtomicPusher: publishes a blessed model to a serving folder."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.pusher.executor import Executor


class AtomicPusherSpec(component_spec.ComponentSpec):
    """`serving_folder`: where versions go. `serving`: JSON of `RetentionSettings`. `fingerprint`: hash of the code."""

    PARAMETERS = {
        "serving_folder": component_spec.ExecutionParameter(type=str),
        "serving": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class AtomicPusher(base_component.BaseComponent):
    """Pushes a model once, if Evaluator and canary have blessed it."""

    SPEC_CLASS = AtomicPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: channel.BaseChannel,
        model_blessing: channel.BaseChannel,
        infra_blessing: channel.BaseChannel,
        serving_folder: str,
        serving: str,
        fingerprint: str,
    ):
        spec = AtomicPusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            serving_folder=serving_folder,
            serving=serving,
            fingerprint=fingerprint,
            pushed_model=channel.OutputChannel(standard_artifacts.PushedModel, self, "pushed_model"),
        )
        super().__init__(spec)
