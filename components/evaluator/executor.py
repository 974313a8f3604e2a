"""Runs TFX's Evaluator, then writes the scores and the reasons of a refusal where anyone can read them quickly.

Loading an evaluation takes TFMA, and TFMA takes eight seconds to import. So the executor, which has it anyway, leaves a
JSON summary in a custom property of the `evaluation` artifact.
"""

import json
import math

import tensorflow_model_analysis as tfma
from absl import logging
from tfx.components.evaluator import executor as tfx_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.evaluator import SUMMARY
from components.evaluator.baseline import lost_baseline
from components.evaluator.eval_config import BASELINE

_BASELINE = standard_component_specs.BASELINE_MODEL_KEY


class Executor(tfx_executor.Executor):
    """Executor of SegmentationEvaluator."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Evaluates as TFX does and sets the custom property `summary` of `evaluation`.

        A baseline whose files are gone or damaged is left out, as there is none before the first blessing; the
        summary says so in `lost_baseline`.
        """
        lost = None
        if input_dict.get(_BASELINE):
            lost = lost_baseline(path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[_BASELINE])))
        if lost is not None:
            logging.warning(lost)
            input_dict = {key: artifacts for key, artifacts in input_dict.items() if key != _BASELINE}
        super().Do(input_dict, output_dict, exec_properties)
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        summary = summarise(evaluation.uri) | {"lost_baseline": lost}
        evaluation.set_string_custom_property(SUMMARY, json.dumps(summary))


def summarise(folder: str) -> dict:
    """Reads what TFMA wrote.

    Args:
      folder: the evaluation artifact's URI.

    Returns:
      `metrics` and `baseline` (None without one): score name -> value or None where undefined, of the overall slice;
      `slices`: `key=value` -> scores of the candidate; `refusals`: one sentence per failed threshold.
    """
    overall, baseline, slices = {}, None, {}
    for record in tfma.load_metrics(folder):
        slice_name = _slice_name(record.slice_key)
        for item in record.metric_keys_and_values:
            if item.key.is_diff:
                continue
            value = item.value.double_value.value
            value = None if math.isnan(value) else value
            if item.key.model_name == BASELINE:
                if not slice_name:
                    baseline = (baseline or {}) | {item.key.name: value}
            elif slice_name:
                slices.setdefault(slice_name, {})[item.key.name] = value
            else:
                overall[item.key.name] = value
    return {"metrics": overall, "baseline": baseline, "slices": slices, "refusals": _refusals(folder, baseline)}


def _slice_name(slice_key) -> str:
    return ", ".join(f"{key.column}={key.bytes_value.decode()}" for key in slice_key.single_slice_keys)


def _refusals(folder: str, baseline: dict | None) -> list[str]:
    """One sentence per threshold that was missed."""
    result = tfma.load_validation_result(folder)
    sentences = []
    for record in result.metric_validations_per_slice:
        where = _slice_name(record.slice_key) or "all photos"
        for failure in record.failures:
            name, value = failure.metric_key.name, failure.metric_value.double_value.value
            if failure.metric_threshold.HasField("change_threshold"):
                allowed = -failure.metric_threshold.change_threshold.absolute.value
                was = (baseline or {}).get(name)
                sentences.append(
                    f"{name} of {where} is {-value:.4f} under the blessed model's {was:.4f}, more than gate.max_drop "
                    f"{allowed:g}"
                )
            else:
                bound = failure.metric_threshold.value_threshold.lower_bound.value
                sentences.append(f"{name} of {where} is {value:.4f}, under the threshold {bound:g}")
    sentences += [f"no photo is in the slice {spec}" for spec in result.missing_slices]
    return sentences
