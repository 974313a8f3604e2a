"""Sends real photos of several sizes and formats, and broken ones, to the exported model in a process of its own."""

import io
import json
import os
import subprocess
import sys
import tempfile

from absl import logging
from PIL import Image
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.example_gen.read import read_examples
from components.model_canary import probe
from components.refusal import refuse
from trainer.features import IMAGE

RESULT = "canary.json"
_SECONDS = 300
_FORMATS = (("JPEG", (64, 48)), ("PNG", (333, 500)), ("BMP", (128, 96)), ("GIF", (97, 131)))


class Executor(base_executor.BaseExecutor):
    """Executor of ModelCanary."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes `canary.json` and sets `blessed`, `latency_ms` and `memory_mb` of the InfraBlessing.

        Raises:
          RefusedError: if the model is not fit to serve; it says why.
        """
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        model = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        records = read_examples(artifact_utils.get_split_uri(input_dict["examples"], "eval"), len(_FORMATS))
        result = _probe(model, [record[IMAGE] for record in records])
        if result["problems"]:
            refuse(blessing.uri, [f"the exported model may not serve: {problem}" for problem in result["problems"]])
        logging.info("canary: %s", result)
        io_utils.write_string_file(os.path.join(blessing.uri, RESULT), json.dumps(result))
        blessing.set_int_custom_property("blessed", 1)
        blessing.set_float_custom_property("latency_ms", result["latency_ms"])
        blessing.set_float_custom_property("memory_mb", result["memory_mb"])


def _probe(model: str, photos: list[bytes]) -> dict:
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        result = os.path.join(folder, RESULT)
        write_photos(os.path.join(folder, "photos"), photos)
        # -I keeps PYTHONPATH and the current folder out, so that the model must do without this project.
        command = [sys.executable, "-I", probe.__file__, model, os.path.join(folder, "photos"), result]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return {"problems": [f"it did not answer within {_SECONDS} s"]}
        if not os.path.isfile(result):
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            return {"problems": [f"the process that loads it died with status {done.returncode}: {last}"]}
        with open(result, encoding="utf-8") as file:
            return json.load(file)


def write_photos(folder: str, photos: list[bytes]) -> None:
    """Writes each photo as it is and once in another format and size; below `broken/` what must be refused.

    Args:
      folder: where to; it is made.
      photos: encoded, at least one.
    """
    os.makedirs(os.path.join(folder, "broken"))

    def write(name: str, content: bytes) -> None:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)

    for index, (photo, (kind, size)) in enumerate(zip(photos, _FORMATS, strict=False)):
        write(f"{index}.jpg", photo)
        buffer = io.BytesIO()
        Image.open(io.BytesIO(photo)).resize(size).save(buffer, kind)
        write(f"{index}-small.{kind.lower()}", buffer.getvalue())
    write(os.path.join("broken", "half.jpg"), photos[0][: len(photos[0]) // 2])
    write(os.path.join("broken", "text.jpg"), b"this is no photo")
