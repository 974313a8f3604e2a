"""Reads the anomalies of every split and stops the run if there is one."""

import json
import os

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.anomaly_gate.anomalies import FILE, describe_anomalies
from components.errors import RefusedError


class Executor(base_executor.BaseExecutor):
    """Executor of AnomalyGate."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes `checked.json`.

        Raises:
          RefusedError: if any split has an anomaly; it names each.
        """
        anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
        splits = artifact_utils.decode_split_names(anomalies.split_names)
        named = []
        for split in splits:
            with fileio.open(os.path.join(artifact_utils.get_split_uri([anomalies], split), FILE), "rb") as file:
                named += [f"{split}: {text}" for text in describe_anomalies(file.read())]
        if named:
            raise RefusedError(f"the data do not fit the schema: {'; '.join(named)}")
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        fileio.makedirs(blessing.uri)
        with fileio.open(os.path.join(blessing.uri, "checked.json"), "w") as file:
            file.write(json.dumps({"splits": splits}))
