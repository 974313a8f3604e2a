"""AnomalyGate: the run ends here if TFDV found an anomaly. ExampleValidator only writes down what it finds."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, channel, component_spec, standard_artifacts

from components.anomaly_gate.executor import Executor


class DataBlessing(artifact.Artifact):
    """Says that the examples of a run passed the gate."""

    TYPE_NAME = "DataBlessing"


class AnomalyGateSpec(component_spec.ComponentSpec):
    """`anomalies`: what ExampleValidator wrote. `fingerprint`: hash of the gate's code."""

    PARAMETERS = {"fingerprint": component_spec.ExecutionParameter(type=str)}
    INPUTS = {"anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=DataBlessing)}


class AnomalyGate(base_component.BaseComponent):
    """Raises and names every anomaly, or writes a blessing."""

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, anomalies: channel.BaseChannel, fingerprint: str):
        blessing = channel.OutputChannel(DataBlessing, self, "blessing")
        super().__init__(AnomalyGateSpec(anomalies=anomalies, fingerprint=fingerprint, blessing=blessing))
