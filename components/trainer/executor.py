"""Runs TFX's Trainer, then notes which run trained the model.

`run_fn` is not told the run's id. As an argument it would make every run a new cache key, so it is added afterwards.
"""

import json
import os

from tfx.components.trainer import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.trainer import RUN_ID
from trainer.features import DESCRIPTION


class Executor(tfx_executor.GenericExecutor):
    """Executor of SegmentationTrainer."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Trains as TFX does and adds `run_id` to `assets.extra/segpipe.json`."""
        super().Do(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_uri(output_dict["model"])
        path = os.path.join(path_utils.serving_model_path(model), DESCRIPTION)
        with fileio.open(path, "r") as file:
            description = json.load(file)
        with fileio.open(path, "w") as file:
            run_id = self._context.pipeline_run_id or os.environ.get(RUN_ID)
            file.write(json.dumps(description | {"run_id": run_id}, indent=2))
