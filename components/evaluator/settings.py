"""The thresholds of the gate; the `gate` section of the config."""

from pydantic import BaseModel, ConfigDict, Field, field_validator


class GateSettings(BaseModel):
    """What a model must reach to be blessed, at the photos' own size; over the whole evaluation split, unless said.

    Attributes:
      min_mean_iou: least mean IoU, 0..1.
      min_class_iou: least IoU of every class, or a mapping from class name to it, 0..1.
      min_slice_mean_iou: slice key -> least mean IoU of each of its slices, 0..1; `breed: 0.5` is "no breed under 0.5".
      max_drop: by how much mean IoU may lie under the latest blessed model's, 0..1.
      min_photos: least number of evaluated photos.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_mean_iou: float = Field(default=0.5, ge=0, le=1)
    min_class_iou: float | dict[str, float] = 0.2
    min_slice_mean_iou: dict[str, float] = {}
    max_drop: float = Field(default=0.02, ge=0, le=1)
    min_photos: int = Field(default=1, ge=1)

    @field_validator("min_class_iou", "min_slice_mean_iou")
    @classmethod
    def _shares(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        for bound in value.values() if isinstance(value, dict) else [value]:
            if not 0 <= bound <= 1:
                raise ValueError(f"{bound} is not in 0..1")
        return value

    def class_bound(self, name: str) -> float:
        """Least IoU of one class; 0 where the mapping leaves it out."""
        return self.min_class_iou.get(name, 0.0) if isinstance(self.min_class_iou, dict) else self.min_class_iou
