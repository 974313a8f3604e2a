"""What a user may choose about the net and its training; the `model` and `training` sections of the config."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_DEFAULT_MINUTES = 4.0


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(_Section):
    """Which net, and how wide.

    Attributes:
      name: `residual` (0.42 M parameters at 16 filters) or `unet` (8.64 M at 32).
      filters: channels of the first level, doubled at each further one; the net's own default when left out.
      dropout: share dropped at the deepest level; the net's own default when left out.
      flip_average: whether the export averages its answer with that for the mirrored photo; doubles the time.
    """

    name: Literal["residual", "unet"] = "residual"
    filters: int | None = Field(default=None, ge=4, le=256)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    flip_average: bool = False


class AugmentSettings(_Section):
    """How far the random changes of a training photo may go.

    Attributes:
      flip: mirror left and right, with probability one half.
      min_scale, max_scale: side of the visible window relative to the photo's.
      aspect: largest logarithm of the change of aspect ratio.
      rotation: largest angle, in degrees.
      colour: largest relative change of contrast and saturation, and shift of brightness in standard deviations.
    """

    enabled: bool = True
    flip: bool = True
    min_scale: float = Field(default=0.6, gt=0, le=1)
    max_scale: float = Field(default=1.1, ge=1, le=2)
    aspect: float = Field(default=0.2, ge=0, le=1)
    rotation: float = Field(default=12.0, ge=0, le=180)
    colour: float = Field(default=0.3, ge=0, lt=1)


class TrainingSettings(_Section):
    """The budget and the recipe.

    Attributes:
      minutes, steps: the budget, one of the two; 4 minutes if neither is given. Minutes are turned into steps by a
        short timing.
      batch_size: photos a step.
      learning_rate: peak of AdamW's cosine schedule, reached after `warmup_share` of the steps.
      weight_decay: of kernels; norms and biases have none.
      dice_weight: weight of the Dice loss beside cross-entropy.
      ema_decay: decay of the averaged weights that are exported.
      evaluations: how often the learning curve measures the evaluation split.
      seed: of initial weights, order and augmentation.
      warm_start: whether to start from the latest blessed model; from scratch where there is none or it does not fit.
      checkpoint_seconds: time between two checkpoints, from which a killed training goes on.
    """

    minutes: float | None = Field(default=None, gt=0, le=10_000)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1, le=4096)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-2, ge=0, le=1)
    warmup_share: float = Field(default=0.08, ge=0, lt=1)
    dice_weight: float = Field(default=0.5, ge=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    evaluations: int = Field(default=8, ge=1)
    seed: int = Field(default=17, ge=0)
    warm_start: bool = False
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    augment: AugmentSettings = AugmentSettings()

    @model_validator(mode="before")
    @classmethod
    def _one_budget(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        budgets = [name for name in ("minutes", "steps") if given.get(name) is not None]
        if len(budgets) > 1:
            raise ValueError("give either minutes or steps as the budget")
        return given if budgets else given | {"minutes": _DEFAULT_MINUTES}
