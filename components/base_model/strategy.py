"""Which model a warm start begins with: the latest blessed one when a training is asked for the first time.

Asked again with the same inputs and config, it begins where it began then. Its own blessed model would otherwise be a
new start, and a pipeline that runs twice without a change would train twice.
"""

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.dsl.io import fileio
from tfx.utils import json_utils

from components.trainer.component import SegmentationTrainer

TRAINING_ID = "training_id"
"""Key of the Trainer's `custom_config`: stands for all that decides its result except for the base model."""


class BaseModelStrategy(LatestBlessedModelStrategy):
    """Resolves `model` and `model_blessing` as LatestBlessedModelStrategy does, once for each training.

    Args:
      training_id: names the training.
    """

    def __init__(self, training_id: str):
        self._training_id = training_id

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """The model that this training began with before, if it did and the files are still there."""
        earlier = self._earlier_execution(store)
        if earlier is None:
            return super().resolve_artifacts(store, input_dict)
        events = store.get_events_by_execution_ids([earlier.id])
        began_with = {e.artifact_id for e in events if e.path.steps and e.path.steps[0].key == "base_model"}
        models = [model for model in input_dict["model"] if model.id in began_with]
        if began_with and not (models and fileio.exists(models[0].uri)):
            return super().resolve_artifacts(store, input_dict)
        return {"model": models, "model_blessing": []}

    def _earlier_execution(self, store: mlmd.MetadataStore) -> metadata_store_pb2.Execution | None:
        if not any(kind.name == SegmentationTrainer.get_class_type() for kind in store.get_execution_types()):
            return None
        executions = store.get_executions_by_type(SegmentationTrainer.get_class_type())
        for execution in sorted(executions, key=lambda execution: execution.id, reverse=True):
            stored = execution.custom_properties["custom_config"].string_value
            if (json_utils.loads(stored or "null") or {}).get(TRAINING_ID) == self._training_id:
                return execution
        return None
