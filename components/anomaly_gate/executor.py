"""Stops the run on every anomaly of every split, and on every feature that drifted from the span before."""

import json
import os
from dataclasses import asdict

from absl import logging
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.anomaly_gate import DRIFT
from components.anomaly_gate.anomalies import FILE, describe_anomalies, strange_features
from components.anomaly_gate.comparisons import read_comparisons
from components.anomaly_gate.drift import measure_drift
from components.refusal import refuse


class Executor(base_executor.BaseExecutor):
    """Executor of AnomalyGate."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes `checked.json` and sets the custom property `drift` of the blessing.

        Raises:
          RefusedError: if any split has an anomaly or any span drifted from the one before; it names each.
        """
        anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        splits = artifact_utils.decode_split_names(anomalies.split_names)
        named, strange = [], set()
        for split in splits:
            path = os.path.join(artifact_utils.get_split_uri([anomalies], split), FILE)
            with fileio.open(path, "rb") as file:
                found = file.read()
            named += [f"{split}: {text}" for text in describe_anomalies(found)]
            strange |= strange_features(found)
        pairs = read_comparisons(exec_properties["comparisons"])
        measured = measure_drift(pairs, _schema(input_dict["schema"]), strange)
        for drift in measured:
            logging.info("drift: %s", drift)
        named += [str(drift) for drift in measured if drift.too_far]
        if named:
            refuse(blessing.uri, named)
        io_utils.write_string_file(os.path.join(blessing.uri, "checked.json"), json.dumps({"splits": splits}))
        blessing.set_string_custom_property(DRIFT, json.dumps([asdict(drift) for drift in measured]))


def _schema(artifacts) -> schema_pb2.Schema:
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(artifacts)))
