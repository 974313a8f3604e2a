"""Exports a model: converts, compares, and leaves the file only if it says what the SavedModel says."""

import json
import os
from collections.abc import Iterable

from components.errors import SegpipeError, UsageError
from components.export.convert import TFLITE, convert
from components.export.parity import Parity, compare
from components.inference.served_model import ServedModel
from components.ingest.spans import file_sha256

MAX_DIFFERENCE = 0.005
"""Of the two mean IoUs."""


def export(model: ServedModel, kind: str, output: str, pairs: Iterable[tuple[bytes, bytes]]) -> Parity:
    """Writes `output`, and `output`.json beside it, which says how to use it.

    Args:
      model: the model.
      kind: one of `components.export.convert.FORMATS`.
      output: the file; its folder is made where it is missing.
      pairs: photos and masks to compare on, see `compare`.

    Raises:
      UsageError: if the model was exported before it had `from_pixels`, or `output` is a folder.
      SegpipeError: if it does not convert, or the mean IoUs differ by more than `MAX_DIFFERENCE`; nothing is left then.
    """
    if not model.takes_pixels:
        raise UsageError(f"{model.folder}: was trained before segpipe could export it; train and push a new version")
    if os.path.isdir(output):
        raise UsageError(f"--output {output}: is a folder; name a file")
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    part = output + ".part"
    try:
        convert(model.folder, kind, part)
        parity = compare(model, part, kind, pairs)
        if parity.difference > MAX_DIFFERENCE:
            raise SegpipeError(
                f"{output}: is not written, its mean IoU {parity.exported.mean_iou:.4f} differs from the SavedModel's "
                f"{parity.saved_model.mean_iou:.4f} by more than {MAX_DIFFERENCE}; try the other --format"
            )
        with open(output + ".json", "w", encoding="utf-8") as file:
            json.dump(_description(model, kind, part, parity), file, indent=2)
        os.replace(part, output)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return parity


def _description(model: ServedModel, kind: str, file: str, parity: Parity) -> dict:
    spec = model.spec
    size = [1 if kind == TFLITE else "N", spec.height, spec.width]
    return {
        "format": kind,
        "sha256": file_sha256(file),
        "model": {key: value for key, value in model.description.items() if key not in ("feature_spec", "colours")},
        "input": {
            "name": "pixels",
            "dtype": "float32",
            "shape": [*size, 3],
            "values": "RGB in 0..255, of the upright photo, each pixel the mean of its area; normalised inside",
        },
        "outputs": {
            "probabilities": {"dtype": "float32", "shape": [*size, spec.num_classes]},
            "mask": {"dtype": "uint8", "shape": size, "values": "labels"},
        },
        "classes": [
            {"label": label, "name": c.name, "mask_values": list(c.values), "colour": colour}
            for label, (c, colour) in enumerate(zip(spec.classes, spec.colours, strict=True))
        ],
        "compared": parity.record(),
    }
