"""The names, shapes and class map that ingest, Transform, Trainer, Evaluator and serving share.

A `FeatureSpec` travels as JSON inside TFX's `custom_config`, so that a change of classes or of the input size
is part of each node's cache key:

    spec = FeatureSpec(classes=[ClassSpec(name="pet", values=[1]), ClassSpec(name="background", values=[2])])
    spec.label_table()[1]        # 0: mask value 1 is class 0
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator

IMAGE = "image"
MASK = "mask"
FILENAME = "filename"
HEIGHT = "height"
WIDTH = "width"
BRIGHTNESS = "brightness"
CLASS_SHARE = "class_share/"
RAW_FEATURES = (IMAGE, MASK, FILENAME, HEIGHT, WIDTH, BRIGHTNESS)

PIXELS = "pixels"
LABELS = "labels"

MASK_PNG = "mask_png"
"""The predicted mask in a record: a one-channel PNG of class ids."""

MASK_PNG_BYTES = "mask_png_bytes"
"""The same as an output of a signature: TensorFlow Serving sends base64 for names that end so, else broken JSON."""

MASKS_FROM_EXAMPLES = "masks_from_examples"
"""The signature of batch inference."""

DESCRIPTION = "assets.extra/segpipe.json"
"""Where an exported model describes itself, relative to its folder."""

IGNORE_LABEL = 255
"""The label of a pixel that no loss, metric or class share counts; also the fill value of `label_table`."""

PALETTE = ["#e4572e", "#17435e", "#ffc914", "#2e933c", "#8e44ad", "#00a6a6", "#d81159", "#6b705c"]


class ClassSpec(BaseModel):
    """One class of the model and the mask values that mean it (several values make a many-to-one map)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    values: tuple[int, ...] = Field(min_length=1)
    colour: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$")

    @field_validator("values")
    @classmethod
    def _values_are_bytes(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= value <= 255 for value in values):
            raise ValueError("mask values lie in 0..255")
        return values


class FeatureSpec(BaseModel):
    """The class map, the model's input size and the constants of normalisation.

    Attributes:
      classes: in label order; label k is `classes[k]`.
      ignore_values: mask values that are excluded from loss, metrics and class shares.
      background: name of the class that `binary_iou` sets against all others.
      height, width: input and output size of the model, in pixels.
      pixel_mean, pixel_std: per channel (red, green, blue), of pixels in 0..1. The defaults are ImageNet's usual
        constants (Krizhevsky et al. 2012's data, as used by torchvision).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[ClassSpec, ...] = (
        ClassSpec(name="pet", values=(1,)),
        ClassSpec(name="background", values=(2,)),
        ClassSpec(name="contour", values=(3,)),
    )
    ignore_values: tuple[int, ...] = ()
    background: str = "background"
    height: int = Field(default=96, ge=32, le=2048, multiple_of=16)
    width: int = Field(default=128, ge=32, le=2048, multiple_of=16)
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> "FeatureSpec":
        if not 2 <= len(self.classes) < IGNORE_LABEL:
            raise ValueError("classes: name at least two")
        names = [c.name for c in self.classes]
        if len(set(names)) < len(names):
            raise ValueError(f"classes: each name once, got {names}")
        values = [v for c in self.classes for v in c.values] + list(self.ignore_values)
        twice = sorted({v for v in values if values.count(v) > 1})
        if twice:
            raise ValueError(f"classes: mask value {twice[0]} is declared twice")
        if any(not 0 <= value <= 255 for value in self.ignore_values):
            raise ValueError("ignore_values: mask values lie in 0..255")
        if self.background not in names:
            raise ValueError(f"background: {self.background!r} is none of the classes {names}")
        return self

    @property
    def class_names(self) -> list[str]:
        return [c.name for c in self.classes]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def background_label(self) -> int:
        return self.class_names.index(self.background)

    @property
    def mask_values(self) -> frozenset[int]:
        """Every value that a mask may hold."""
        return frozenset(v for c in self.classes for v in c.values) | frozenset(self.ignore_values)

    @property
    def colours(self) -> list[str]:
        """One `#rrggbb` per class: the declared one, else the palette's."""
        return [c.colour or PALETTE[i % len(PALETTE)] for i, c in enumerate(self.classes)]

    def label_table(self) -> np.ndarray:
        """uint8[256]: mask value -> label in 0..C-1; `IGNORE_LABEL` for ignored and undeclared values."""
        table = np.full(256, IGNORE_LABEL, np.uint8)
        for label, spec in enumerate(self.classes):
            table[list(spec.values)] = label
        return table

    def value_table(self) -> np.ndarray:
        """uint8[C]: label -> the first mask value of its class, to write masks in the user's own values."""
        return np.array([c.values[0] for c in self.classes], np.uint8)
