"""Checks the blessing, then publishes, unless the live version is a copy of the same model already.

A model that somebody rolled back from is blessed again when its run is repeated; it stays away all the same.
"""

import os

from absl import logging
from tfx.components.pusher import executor as tfx_executor
from tfx.types import artifact_utils

from components.pusher import BY_HAND, LIVE, NEW_VERSION, ROLLED_BACK
from components.pusher.retention import retire
from components.pusher.settings import RetentionSettings
from components.pusher.versions import is_copy, live_version, origin, publish, reason_not_to_push


class Executor(tfx_executor.Executor):
    """Executor of AtomicPusher; blessing and model path are read as TFX's own Pusher reads them."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Publishes and sets the custom properties of `pushed_model` that TFX's Pusher sets."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        folder = exec_properties["serving_folder"]
        version = live_version(folder)
        live = (
            version is not None
            and origin(folder, version) == model.uri
            and is_copy(folder, version, self.GetModelPath(input_dict))
        )
        blessed = self.CheckBlessing(input_dict)
        rolled_back = None if exec_properties.get(BY_HAND) else reason_not_to_push(folder, model.uri)
        if not blessed or rolled_back is not None:
            self._MarkNotPushed(pushed)
            pushed.set_int_custom_property(LIVE, int(live))
            if blessed:
                pushed.set_string_custom_property(ROLLED_BACK, rolled_back)
            return
        if not live:
            version = publish(self.GetModelPath(input_dict), folder, model.uri)
            logging.info("pushed %s as version %d", model.uri, version)
        retired = retire(folder, RetentionSettings.model_validate_json(exec_properties.get("serving", "{}")))
        logging.info("retired versions: %s", retired)
        pushed.set_int_custom_property(NEW_VERSION, int(not live))
        self._MarkPushed(pushed, os.path.join(folder, str(version)), pushed_version=str(version))
