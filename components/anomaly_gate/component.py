"""AnomalyGate: the run ends here if TFDV finds an anomaly or a drift. ExampleValidator only writes anomalies down."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, channel, component_spec, standard_artifacts

from components.anomaly_gate.executor import Executor


class DataBlessing(artifact.Artifact):
    """Says that the examples of a run passed the gate."""

    # Vertex AI takes a package and a class of it, and imports it by that name.
    TYPE_NAME = "components.DataBlessing"


class AnomalyGateSpec(component_spec.ComponentSpec):
    """`anomalies`: what ExampleValidator wrote. `schema`: its drift comparators say what is compared. `comparisons`:
    path of the list of spans that are compared. `fingerprint`: hash of the gate's code."""

    PARAMETERS = {
        "comparisons": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=DataBlessing)}


class AnomalyGate(base_component.BaseComponent):
    """Raises and names every anomaly and every drift, or writes a blessing."""

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, anomalies: channel.BaseChannel, schema: channel.BaseChannel, comparisons: str, fingerprint: str):
        spec = AnomalyGateSpec(
            anomalies=anomalies,
            schema=schema,
            comparisons=comparisons,
            fingerprint=fingerprint,
            blessing=channel.OutputChannel(DataBlessing, self, "blessing"),
        )
        super().__init__(spec)
