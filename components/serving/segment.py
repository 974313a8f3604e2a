"""What the page shows of one photo: mask, class shares and confidence, all at the photo's own size."""

import binascii
import io

import numpy as np
from PIL import Image

from components.inference.pictures import mask_picture
from components.ingest.opening import Unreadable
from components.ingest.reader import upright_jpeg
from components.serving.loaded_model import DEFAULT_SIGNATURE, LoadedModel
from components.serving.request_error import RequestError
from trainer.photo_size import labels_and_confidence


def segment(model: LoadedModel, encoded: bytes, max_pixels: int, with_photo: bool) -> dict:
    """Asks the model about a photo, turned upright by EXIF.

    Args:
      model: what to ask.
      encoded: a photo in any format that Pillow reads.
      max_pixels: largest photo that is decoded.
      with_photo: whether the upright JPEG is sent back, for a browser that cannot show the format.

    Returns:
      `version`, `run_id`; `width`, `height` in pixels; `classes` in label order, each with `name`, `colour`, `value`
      (in the mask) and `share` of the photo's pixels; `background`; `mean_confidence` in 0..1; base64 of PNGs of the
      photo's size: `mask_png` (palette, the user's own mask values), `labels_png` (grey, 0..C-1) and
      `confidence_png` (grey, 255 is sure); `photo_jpeg` if asked for.

    Raises:
      RequestError: 400 if the photo cannot be decoded, 413 if it is too large.
    """
    jpeg, size = _upright(encoded, max_pixels)
    probabilities = model.ask(DEFAULT_SIGNATURE, {"image_bytes": [jpeg]})["probabilities"][0]
    labels, confidence = labels_and_confidence(probabilities, *size)
    spec = model.spec
    shares = np.bincount(labels.ravel(), minlength=spec.num_classes) / labels.size
    described = zip(spec.class_names, spec.colours, spec.value_table().tolist(), shares.tolist(), strict=True)
    answer = {
        "version": model.version,
        "run_id": model.description.get("run_id"),
        "width": size[1],
        "height": size[0],
        "classes": [{"name": n, "colour": c, "value": v, "share": s} for n, c, v, s in described],
        "background": spec.background,
        "mean_confidence": float(confidence.mean()),
        "mask_png": _base64_png(mask_picture(labels, spec)),
        "labels_png": _base64_png(Image.fromarray(labels, "L")),
        "confidence_png": _base64_png(Image.fromarray((confidence * 255).round().astype(np.uint8), "L")),
    }
    if with_photo:
        answer["photo_jpeg"] = _base64(jpeg)
    return answer


def _upright(encoded: bytes, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """The upright JPEG, and its height and width."""
    try:
        jpeg, pixels = upright_jpeg(encoded, max_pixels)
    except Unreadable as error:
        if error.reason == "oversized_photo":
            raise RequestError(413, f"the photo is too large: {error.detail}; shrink it") from error
        why = "it is empty" if error.reason == "empty_photo" else error.detail
        raise RequestError(400, f"the photo cannot be decoded: {why}") from error
    return jpeg, pixels.shape[:2]


def _base64_png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    # Level 1 is four times as fast as the default and 10 % larger; the answer goes over loopback.
    picture.save(buffer, "PNG", compress_level=1)
    return _base64(buffer.getvalue())


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()
