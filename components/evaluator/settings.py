"""How models are measured and what they must reach; the `metrics` and `gate` sections of the config."""

from pydantic import BaseModel, ConfigDict, Field, field_validator


class MetricSettings(BaseModel):
    """How far a boundary may lie from the true one and still be right (see `trainer.boundary`), in pixels.

    The defaults are 0.75 % of the diagonal, as Csurka et al. 2013 have it (DAVIS: 0.8 %), of photos of 375x500 and of
    a model of 96x128. Scores of other tolerances do not compare.

    Attributes:
      boundary_tolerance: at the photo's own size.
      model_boundary_tolerance: at the model's size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    boundary_tolerance: int = Field(default=5, ge=0, le=100)
    model_boundary_tolerance: int = Field(default=1, ge=0, le=100)

    @property
    def tolerances(self) -> tuple[int, int]:
        """At the photo's own size, and at the model's."""
        return self.boundary_tolerance, self.model_boundary_tolerance


class GateSettings(BaseModel):
    """What a model must reach to be blessed, at the photos' own size; over the whole evaluation split, unless said.

    Attributes:
      min_mean_iou: least mean IoU, 0..1.
      min_class_iou: least IoU of every class, or a mapping from class name to it, 0..1.
      min_mean_boundary_f1: least mean boundary F1, 0..1; 0 sets no bound.
      min_slice_mean_iou: slice key -> least mean IoU of each of its slices, 0..1; `breed: 0.5` is "no breed under 0.5".
      max_drop: by how much mean IoU may lie under the latest blessed model's, 0..1.
      max_slice_drop: slice key -> by how much mean IoU of each of its slices may lie under the blessed model's, 0..1.
      min_photos: least number of evaluated photos.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_mean_iou: float = Field(default=0.5, ge=0, le=1)
    min_class_iou: float | dict[str, float] = 0.2
    min_mean_boundary_f1: float = Field(default=0.0, ge=0, le=1)
    min_slice_mean_iou: dict[str, float] = {}
    max_drop: float = Field(default=0.02, ge=0, le=1)
    max_slice_drop: dict[str, float] = {}
    min_photos: int = Field(default=1, ge=1)

    @field_validator("min_class_iou", "min_slice_mean_iou", "max_slice_drop")
    @classmethod
    def _shares(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        for bound in value.values() if isinstance(value, dict) else [value]:
            if not 0 <= bound <= 1:
                raise ValueError(f"{bound} is not in 0..1")
        return value

    def class_bound(self, name: str) -> float:
        """Least IoU of one class; 0 where the mapping leaves it out."""
        return self.min_class_iou.get(name, 0.0) if isinstance(self.min_class_iou, dict) else self.min_class_iou
