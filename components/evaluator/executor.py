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
from tfx.utils import json_utils, path_utils

from components.evaluator import SUMMARY, shared_model
from components.evaluator.baseline import lost_baseline
from components.evaluator.eval_config import BASELINE
from components.evaluator.processes import in_useful_processes, most_answers
from components.watched.processes import Watched
from trainer.metrics import HALF_WIDTH, RANKING

_BASELINE = standard_component_specs.BASELINE_MODEL_KEY


class Executor(Watched, tfx_executor.Executor):
    """Executor of SegmentationEvaluator and GoldenEvaluator."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Evaluates as TFX does and sets the custom property `summary` of `evaluation`.

        A baseline whose files are gone or damaged is left out, as there is none before the first blessing; the
        summary says so in `lost_baseline`. Many photos are evaluated by several processes, unless the options of Beam
        say how many.
        """
        lost = None
        if input_dict.get(_BASELINE):
            lost = lost_baseline(path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[_BASELINE])))
        if lost is not None:
            logging.warning(lost)
            input_dict = {key: artifacts for key, artifacts in input_dict.items() if key != _BASELINE}
        splits = json_utils.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        answers = most_answers(input_dict["examples"], splits, 1 + bool(input_dict.get(_BASELINE)))
        self._beam_pipeline_args = in_useful_processes(self._beam_pipeline_args, answers)
        super().Do(input_dict, output_dict, exec_properties | {"custom_eval_shared_model": shared_model.PATH})
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        summary = summarise(evaluation.uri) | {"lost_baseline": lost}
        evaluation.set_string_custom_property(SUMMARY, json.dumps(summary))


def summarise(folder: str) -> dict:
    """Reads what TFMA wrote.

    Args:
      folder: the evaluation artifact's URI.

    Returns:
      `metrics` and `baseline` (None without one): score name -> value or None where undefined, of the overall slice;
      `slices` and `baseline_slices`: `key=value` -> scores; `intervals`, `baseline_intervals` and `slice_intervals`:
      half of each 95 % confidence interval of `metrics`, `baseline` and `slices`; `ranking`: see `trainer.ranking`, of
      all photos; `refusals`: one sentence per failed threshold.
    """
    summary = {"metrics": {}, "intervals": {}, "baseline": {}, "baseline_intervals": {}}
    summary |= {"slices": {}, "baseline_slices": {}, "slice_intervals": {}, "ranking": None}
    for record in tfma.load_metrics(folder):
        slice_name = _slice_name(record.slice_key)
        for item in record.metric_keys_and_values:
            if item.key.is_diff:
                continue
            is_baseline = item.key.model_name == BASELINE
            if item.key.name == RANKING:
                if not slice_name and not is_baseline:
                    summary["ranking"] = json.loads(item.value.bytes_value)
                continue
            value = item.value.double_value.value
            place = _place(item.key.name, slice_name, is_baseline)
            if place is not None:
                scores = summary[place].setdefault(slice_name, {}) if slice_name else summary[place]
                scores[item.key.name.removeprefix(HALF_WIDTH)] = None if math.isnan(value) else value
    refusals = _refusals(folder, {"": summary["metrics"]} | summary["slices"])
    return summary | {"baseline": summary["baseline"] or None, "refusals": refusals}


def _place(name: str, slice_name: str, is_baseline: bool) -> str | None:
    """Where in the summary a value belongs; None for the intervals of the baseline's slices, which nobody reads."""
    if name.startswith(HALF_WIDTH):
        if slice_name:
            return None if is_baseline else "slice_intervals"
        return "baseline_intervals" if is_baseline else "intervals"
    if slice_name:
        return "baseline_slices" if is_baseline else "slices"
    return "baseline" if is_baseline else "metrics"


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
