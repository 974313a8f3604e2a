"""Photo, truth and prediction of a few evaluation photos, as pictures inside the page."""

import base64
import io

import numpy as np
from PIL import Image

from components.example_gen.read import find_examples
from components.inference.pictures import overlay_picture
from components.inference.served_model import ServedModel
from trainer.confusion import confusion_matrix, scores
from trainer.features import HEIGHT, IMAGE, MASK, WIDTH
from trainer.photo_size import true_labels

_SIDE = 360
"""Longest side of a picture, in pixels."""


def photo_strips(model: ServedModel, examples_folder: str, ranking: dict) -> dict[str, list[dict]]:
    """Predicts the photos that the Evaluator has ranked, and no other.

    Args:
      model: whose predictions.
      examples_folder: of the evaluation split's TFRecords.
      ranking: see `trainer.ranking`.

    Returns:
      `worst`, `median` and `best`: per photo its name as `photo`, `mean_iou` as the Evaluator measured it, `iou` (class
      -> IoU or None), `width` and `height` of a picture, and `pictures`: data URIs of photo, truth and prediction.
      Photos whose examples are gone are left out.
    """
    kinds = ("worst", "median", "best")
    chosen = {one["photo"]: one["mean_iou"] for kind in kinds for one in ranking[kind]}
    examples = find_examples(examples_folder, list(chosen))
    strips = {name: _strip(model, name, chosen[name], example) for name, example in examples.items()}
    return {kind: [strips[one["photo"]] for one in ranking[kind] if one["photo"] in strips] for kind in kinds}


def _strip(model: ServedModel, name: str, mean_iou: float, example: dict) -> dict:
    spec = model.spec
    photo = np.asarray(Image.open(io.BytesIO(example[IMAGE])).convert("RGB"))
    truth = true_labels(example[MASK], spec)
    (labels,) = model.labels([example[IMAGE]], [(example[HEIGHT], example[WIDTH])])
    matrix = confusion_matrix(truth, labels, spec.num_classes)
    found = scores(matrix, spec.class_names, spec.background_label)
    iou = {c: None if np.isnan(found[f"iou/{c}"]) else float(found[f"iou/{c}"]) for c in spec.class_names}
    pictures = [Image.fromarray(photo), overlay_picture(photo, truth, spec), overlay_picture(photo, labels, spec)]
    for picture in pictures:
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    width, height = pictures[0].size
    uris = [_data_uri(picture) for picture in pictures]
    return {"photo": name, "mean_iou": mean_iou, "iou": iou, "width": width, "height": height, "pictures": uris}


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
