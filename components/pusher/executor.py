"""Checks the blessing, then publishes, unless the live version is a copy of the same model already."""

import os

from absl import logging
from tfx.components.pusher import executor as tfx_executor
from tfx.types import artifact_utils

from components.pusher import LIVE, NEW_VERSION
from components.pusher.versions import live_version, origin, publish


class Executor(tfx_executor.Executor):
    """Executor of AtomicPusher; blessing and model path are read as TFX's own Pusher reads them."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Publishes and sets the custom properties of `pushed_model` that TFX's Pusher sets."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        folder = exec_properties["serving_folder"]
        version = live_version(folder)
        live = version is not None and origin(folder, version) == model.uri
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            pushed.set_int_custom_property(LIVE, int(live))
            return
        if not live:
            version = publish(self.GetModelPath(input_dict), folder, model.uri)
            logging.info("pushed %s as version %d", model.uri, version)
        pushed.set_int_custom_property(NEW_VERSION, int(not live))
        self._MarkPushed(pushed, os.path.join(folder, str(version)), pushed_version=str(version))
