"""Compares an exported file with the SavedModel it came from, on real photos and their true masks."""

import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from components.export.portable import Net, open_net, photo_pixels
from components.inference.served_model import ServedModel
from trainer.confusion import confusion_matrix, scores
from trainer.photo_size import predicted_labels, true_labels


@dataclass(frozen=True)
class Side:
    """One of the two: its bytes, mean IoU at the photos' own size, median time of one photo through the net alone."""

    bytes: int
    mean_iou: float
    latency_ms: float


@dataclass(frozen=True)
class Parity:
    """How alike both are.

    Attributes:
      photos: how many were compared.
      saved_model, exported: the two sides.
      same_pixels: share of the photos' pixels on which both say the same class, 0..1.
    """

    photos: int
    saved_model: Side
    exported: Side
    same_pixels: float

    @property
    def difference(self) -> float:
        """Between the two mean IoUs."""
        return abs(self.saved_model.mean_iou - self.exported.mean_iou)

    def record(self) -> dict:
        """All of it as plain JSON."""
        return {**asdict(self), "difference": self.difference}


def compare(model: ServedModel, path: str, kind: str, pairs: Iterable[tuple[bytes, bytes]]) -> Parity:
    """Asks both about every photo.

    The SavedModel gets the encoded photo, the net what `photo_pixels` makes of it, so that the difference includes
    whatever decoding and resizing elsewhere change.

    Args:
      model: the SavedModel.
      path, kind: the exported file and its format.
      pairs: encoded upright photo, and its mask as a one-channel PNG in the user's own values; at least one.
    """
    spec, net = model.spec, open_net(path, kind)
    matrices = np.zeros([2, spec.num_classes, spec.num_classes], np.int64)
    times: tuple[list[float], list[float]] = ([], [])
    same = total = photos = 0
    for photo, mask in pairs:
        truth, pixels = true_labels(mask, spec), photo_pixels(photo, spec.height, spec.width)
        answers = [model.probabilities([photo])[0], _timed(net, pixels, times[1])[0]]
        _timed(model.from_pixels, pixels, times[0])
        labels = [predicted_labels(probabilities, *truth.shape) for probabilities in answers]
        matrices += [confusion_matrix(truth, guess, spec.num_classes) for guess in labels]
        same += int((labels[0] == labels[1]).sum())
        total += truth.size
        photos += 1
    found = scores(matrices, spec.class_names, spec.background_label)["mean_iou"]
    # The first call of either prepares its memory.
    latencies = [statistics.median(each[1:] or each) for each in times]
    sides = map(Side, (_size(model.folder), _size(path)), found.tolist(), latencies)
    return Parity(photos, *sides, same / total)


def _timed(net: Net, pixels: np.ndarray, times: list[float]) -> np.ndarray:
    start = time.perf_counter()
    answer = net(pixels)
    times.append(1000 * (time.perf_counter() - start))
    return answer


def _size(path: str) -> int:
    """Bytes of a file, or of all files below a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
