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
from trainer.metrics import HALF_WIDTH

_BASELINE = standard_component_specs.BASELINE_MODEL_KEY


class Executor(tfx_executor.Executor):
    """Executor of SegmentationEvaluator and GoldenEvaluator."""

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
      `slices`: `key=value` -> scores of the candidate; `intervals` and `slice_intervals`: half of each 95 % confidence
      interval of `metrics` and `slices`; `refusals`: one sentence per failed threshold.
    """
    overall, intervals, baseline, slices, slice_intervals = {}, {}, None, {}, {}
    for record in tfma.load_metrics(folder):
        slice_name = _slice_name(record.slice_key)
        for item in record.metric_keys_and_values:
            if item.key.is_diff:
                continue
            value = item.value.double_value.value
            value = None if math.isnan(value) else value
            name = item.key.name.removeprefix(HALF_WIDTH)
            is_interval = name != item.key.name
            if item.key.model_name == BASELINE:
                if not slice_name and not is_interval:
                    baseline = (baseline or {}) | {name: value}
            elif slice_name:
                (slice_intervals if is_interval else slices).setdefault(slice_name, {})[name] = value
            else:
                (intervals if is_interval else overall)[name] = value
    return {
        "metrics": overall,
        "intervals": intervals,
        "baseline": baseline,
        "slices": slices,
        "slice_intervals": slice_intervals,
        "refusals": _refusals(folder, {"": overall} | slices),
    }


def _slice_name(slice_key) -> str:
    return ", ".join(f"{key.column}={key.bytes_value.decode()}" for key in slice_key.single_slice_keys)


def _refusals(folder: str, scores: dict[str, dict]) -> list[str]:
    """One sentence per threshold that was missed; `scores` are the candidate's by name of slice, "" for all photos."""
    result = tfma.load_validation_result(folder)
    sentences = []
    for record in result.metric_validations_per_slice:
        slice_name = _slice_name(record.slice_key)
        for failure in record.failures:
            score = f"{failure.metric_key.name} of {slice_name or 'all photos'}"
            value, threshold = failure.metric_value.double_value.value, failure.metric_threshold
            if math.isnan(value):
                sentences.append(f"{score} is undefined, as nothing of it is in any mask or prediction")
            elif threshold.HasField("change_threshold"):
                blessed = scores[slice_name][failure.metric_key.name] - value
                allowed = -threshold.change_threshold.absolute.value
                setting = f"gate.max_slice_drop.{slice_name.partition('=')[0]}" if slice_name else "gate.max_drop"
                sentences.append(
                    f"{score} is {-value:.4f} under the blessed model's {blessed:.4f}, more than {setting} {allowed:g}"
                )
            else:
                bound = threshold.value_threshold.lower_bound.value
                sentences.append(f"{score} is {value:.4f}, under the threshold {bound:g}")
    for spec in result.missing_slices:
        what = f"has the slice key {', '.join(spec.feature_keys)}" if spec.feature_keys else "was evaluated"
        sentences.append(f"no photo {what}, so a threshold was not checked")
    return sentences
