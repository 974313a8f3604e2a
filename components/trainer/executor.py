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
from components.trainer.team import train_together
from trainer.features import DESCRIPTION
from trainer.settings import MULTI_WORKER, TrainingSettings
from trainer.workers import TF_CONFIG, this_task


class Executor(tfx_executor.GenericExecutor):
    """Executor of SegmentationTrainer."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Trains as TFX does and adds `run_id` to `assets.extra/segpipe.json`.

        With `training.strategy: multi_worker` and no TF_CONFIG, in processes of its own.
        """
        processes = _processes(exec_properties)
        if processes and not os.environ.get(TF_CONFIG):
            train_together(processes, input_dict, output_dict, exec_properties, self._context)
            return
        chief = not processes or this_task().is_chief
        super().Do(input_dict, output_dict, exec_properties)
        if not chief:
            return
        model = artifact_utils.get_single_uri(output_dict["model"])
        path = os.path.join(path_utils.serving_model_path(model), DESCRIPTION)
        with fileio.open(path, "r") as file:
            description = json.load(file)
        with fileio.open(path, "w") as file:
            run_id = self._context.pipeline_run_id or os.environ.get(RUN_ID)
            file.write(json.dumps(description | {"run_id": run_id}, indent=2))


def _processes(exec_properties: dict) -> int | None:
    """How many processes are to train together; None for the one that this is."""
    training = json.loads(exec_properties["custom_config"]).get("training", "{}")
    settings = TrainingSettings.model_validate_json(training)
    return settings.processes if settings.strategy == MULTI_WORKER else None
