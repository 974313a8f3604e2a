"""TFX's Evaluator with a summary of what it found: for the gate, and for the golden set."""

from tensorflow_model_analysis.proto.config_pb2 import EvalConfig
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import artifact, channel, component_spec, standard_artifacts
from tfx.types.standard_component_specs import EvaluatorSpec
from tfx.utils import json_utils

from components.evaluator.executor import Executor
from components.ingest.sources import SPLITS


class EvaluationVerdict(artifact.Artifact):
    """What TFX's Evaluator says in a ModelBlessing. That makes a baseline, so Conservation, the last gate, gives it."""

    # Vertex AI takes a package and a class of it, and imports it by that name.
    TYPE_NAME = "components.EvaluationVerdict"


class SegmentationEvaluatorSpec(component_spec.ComponentSpec):
    """That of TFX's Evaluator with a verdict in place of the ModelBlessing."""

    PARAMETERS = EvaluatorSpec.PARAMETERS
    INPUTS = EvaluatorSpec.INPUTS
    OUTPUTS = EvaluatorSpec.OUTPUTS | {"blessing": component_spec.ChannelParameter(type=EvaluationVerdict)}


class SegmentationEvaluator(base_beam_component.BaseBeamComponent):
    """Measures a model on the evaluation split, beside the baseline, and judges it."""

    SPEC_CLASS = SegmentationEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        schema: channel.BaseChannel,
        model: channel.BaseChannel,
        baseline_model: channel.BaseChannel,
        eval_config: EvalConfig,
    ):
        spec = SegmentationEvaluatorSpec(
            examples=examples,
            schema=schema,
            model=model,
            baseline_model=baseline_model,
            eval_config=eval_config,
            example_splits=json_utils.dumps(["eval"]),
            evaluation=channel.OutputChannel(standard_artifacts.ModelEvaluation, self, "evaluation"),
            blessing=channel.OutputChannel(EvaluationVerdict, self, "blessing"),
        )
        super().__init__(spec)


class GoldenEvaluatorSpec(component_spec.ComponentSpec):
    """That of TFX's Evaluator without what decides: no baseline and no blessing."""

    PARAMETERS = EvaluatorSpec.PARAMETERS
    INPUTS = {key: EvaluatorSpec.INPUTS[key] for key in ("examples", "model", "schema")}
    OUTPUTS = {"evaluation": EvaluatorSpec.OUTPUTS["evaluation"]}


class GoldenEvaluator(base_beam_component.BaseBeamComponent):
    """Measures a model on all splits of the golden span.

    It cannot bless: a ModelBlessing of any node would count for the latest-blessed resolver.
    """

    SPEC_CLASS = GoldenEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        schema: channel.BaseChannel,
        model: channel.BaseChannel,
        eval_config: EvalConfig,
    ):
        evaluation = channel.OutputChannel(standard_artifacts.ModelEvaluation, self, "evaluation")
        super().__init__(
            GoldenEvaluatorSpec(
                examples=examples,
                schema=schema,
                model=model,
                eval_config=eval_config,
                example_splits=json_utils.dumps(list(SPLITS)),
                evaluation=evaluation,
            )
        )
