"""PhotoExampleGen: the photos of a folder as examples without masks."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.photo_example_gen.executor import Executor


class PhotoExampleGenSpec(component_spec.ComponentSpec):
    """`listing`: path of the listing's JSON. `fingerprint`: hash of the code that reads it."""

    PARAMETERS = {
        "listing": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class PhotoExampleGen(base_component.BaseComponent):
    """Publishes the photos of a listing as Examples with the split photos."""

    SPEC_CLASS = PhotoExampleGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, listing: str, fingerprint: str):
        examples = channel.OutputChannel(standard_artifacts.Examples, self, "examples")
        super().__init__(PhotoExampleGenSpec(listing=listing, fingerprint=fingerprint, examples=examples))
