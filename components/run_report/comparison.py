"""One picture of photo, true mask and predicted mask for a few evaluation photos."""

import io

import matplotlib.figure
import matplotlib.patches
import numpy as np
from PIL import Image

from components.example_gen.read import read_examples
from components.inference.pictures import coloured, save_png
from components.inference.served_model import ServedModel
from trainer.confusion import confusion_matrix, scores
from trainer.features import FILENAME, HEIGHT, IMAGE, MASK, WIDTH
from trainer.photo_size import true_labels


def comparison_picture(model: ServedModel, examples: list[dict]) -> Image.Image:
    """Draws photo, truth and prediction, a row each, with the photo's name and its mean IoU.

    Args:
      model: whose predictions.
      examples: from `read_examples`.
    """
    spec = model.spec
    predicted = model.labels([e[IMAGE] for e in examples], [(e[HEIGHT], e[WIDTH]) for e in examples])
    figure = matplotlib.figure.Figure(figsize=(9, 2.45 * len(examples) + 0.5), dpi=110, layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(examples), 3))
    for row, example, labels in zip(axes, examples, predicted, strict=True):
        truth = true_labels(example[MASK], spec)
        matrix = confusion_matrix(truth, labels, spec.num_classes)
        mean_iou = scores(matrix, spec.class_names, spec.background_label)["mean_iou"]
        photo = Image.open(io.BytesIO(example[IMAGE]))
        titles = (example[FILENAME].decode(errors="replace"), "true mask", f"predicted mask, mean IoU {mean_iou:.2f}")
        for axis, picture, title in zip(
            row, (photo, coloured(truth, spec), coloured(labels, spec)), titles, strict=True
        ):
            axis.imshow(picture)
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
    patches = [matplotlib.patches.Patch(color=c, label=n) for c, n in zip(spec.colours, spec.class_names, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer)


def write_comparison(model: ServedModel, examples_folder: str, path: str, count: int = 5) -> None:
    """Writes the picture for the first photos of a split; their order is by hash, so they are a fair draw.

    Args:
      model: whose predictions.
      examples_folder: of a split's TFRecords.
      path: of the PNG.
      count: rows.
    """
    examples = read_examples(examples_folder, count)
    save_png(comparison_picture(model, examples), path)
