"""SpanExampleGen: the examples of a window of spans, the same on every engine."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.example_gen.executor import Executor


class SpanExampleGenSpec(component_spec.ComponentSpec):
    """`window`: path of the window's JSON. `fingerprint`: hash of the code that reads it."""

    PARAMETERS = {
        "window": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class SpanExampleGen(base_component.BaseComponent):
    """Publishes the shards of a window's spans as Examples with the splits train and eval."""

    SPEC_CLASS = SpanExampleGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, window: str, fingerprint: str):
        examples = channel.OutputChannel(standard_artifacts.Examples, self, "examples")
        super().__init__(SpanExampleGenSpec(window=window, fingerprint=fingerprint, examples=examples))
