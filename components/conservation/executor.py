"""Compares the counts of every stage; only if they agree does the Evaluator's verdict become a ModelBlessing."""

import json

from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.conservation import COUNTS
from components.conservation.counts import EVALUATOR, EXAMPLE_GEN, STATISTICS, TRANSFORM, differences, split_counts
from components.errors import SegpipeError
from components.example_gen.window import read_window
from components.refusal import refuse

_PROPERTIES = (
    constants.ARTIFACT_PROPERTY_BLESSED_KEY,
    constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY,
    constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY,
    constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY,
    constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY,
)
"""What TFX's Evaluator says in custom properties."""


class Executor(base_executor.BaseExecutor):
    """Executor of Conservation."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Hands the verdict on, with `counts` beside it.

        Raises:
          RefusedError: if a stage has lost or gained examples, or its records cannot be read; it names the stage, the
            split, both numbers and the folder to remove.
        """
        inputs = {key: artifact_utils.get_single_instance(artifacts) for key, artifacts in input_dict.items()}
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        stages = {
            EXAMPLE_GEN: inputs["examples"],
            STATISTICS: inputs["statistics"],
            TRANSFORM: inputs["transformed_examples"],
            EVALUATOR: inputs["evaluation"],
        }
        window = read_window(exec_properties["window"])
        try:
            counts = split_counts(window, *stages.values())
        except SegpipeError as error:
            refuse(blessing.uri, [f"{error}; remove the folder and run again"])
        found = differences(counts)
        if found:
            # TFX looks only whether the folder of a cached output is there, so a run alone would take it again.
            refuse(blessing.uri, [f"{why}; remove {stages[stage].uri} and run again" for stage, why in found])
        _hand_on(inputs["verdict"], blessing)
        blessing.set_string_custom_property(COUNTS, json.dumps(counts))


def _hand_on(verdict, blessing) -> None:
    for key in filter(verdict.has_custom_property, _PROPERTIES):
        # An id is a number in MLMD, and on Vertex AI the name of a resource.
        text = verdict.get_string_custom_property(key)
        if text:
            blessing.set_string_custom_property(key, text)
        else:
            blessing.set_int_custom_property(key, verdict.get_int_custom_property(key))
    blessed = verdict.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == constants.BLESSED_VALUE
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(f"{blessing.uri}/{name}", "")
