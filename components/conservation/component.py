"""Conservation: a model whose run lost an example is neither pushed nor the baseline of the next run.

TFX takes as baseline the newest model that a ModelBlessing names. So the Evaluator gives a verdict, and this node, the
last gate, makes the blessing of it: a way that works on every engine, since none of them needs another resolver.
"""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.conservation.executor import Executor
from components.evaluator.component import EvaluationVerdict


class ConservationSpec(component_spec.ComponentSpec):
    """`window`: path of the window's JSON. `fingerprint`: hash of the code that counts."""

    PARAMETERS = {
        "window": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "transformed_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "verdict": component_spec.ChannelParameter(type=EvaluationVerdict),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing)}


class Conservation(base_component.BaseComponent):
    """Raises where the counts of two stages differ, or turns the Evaluator's verdict into a ModelBlessing."""

    SPEC_CLASS = ConservationSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        window: str,
        examples: channel.BaseChannel,
        statistics: channel.BaseChannel,
        transformed_examples: channel.BaseChannel,
        evaluation: channel.BaseChannel,
        verdict: channel.BaseChannel,
        fingerprint: str,
    ):
        spec = ConservationSpec(
            window=window,
            examples=examples,
            statistics=statistics,
            transformed_examples=transformed_examples,
            evaluation=evaluation,
            verdict=verdict,
            fingerprint=fingerprint,
            blessing=channel.OutputChannel(standard_artifacts.ModelBlessing, self, "blessing"),
        )
        super().__init__(spec)
