"""What a user may choose about the net and its training; the `model` and `training` sections of the config."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_DEFAULT_MINUTES = 4.0
BALANCED = "balanced"
IMAGENET = "imagenet"
NO_WEIGHTS = "none"
MULTI_WORKER = "multi_worker"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(_Section):
    """Which net, and how wide.

    Attributes:
      name: `residual` (0.42 M parameters at 16 filters), `unet` (8.64 M at 32), or `encoder`, a pretrained backbone of
        `keras.applications` under a decoder (at 16 filters 2.18 M with MobileNetV2, 6.39 M with EfficientNetV2B0).
      filters: channels of the first level, doubled at each further one; the net's own default when left out.
      dropout: share dropped at the deepest level; the net's own default when left out.
      flip_average: whether the export averages its answer with that for the mirrored photo; doubles the time.
      backbone: of `encoder`; MobileNetV2 when left out.
      weights: of the backbone: `imagenet` takes them from Keras' cache or downloads them, `none` starts at random, any
        other is an .h5 file of the backbone without its top, relative to the config file. `imagenet` when left out.
      freeze: whether the backbone keeps its weights and its norms' statistics; false when left out.
    """

    name: Literal["residual", "unet", "encoder"] = "residual"
    filters: int | None = Field(default=None, ge=4, le=256)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    flip_average: bool = True
    backbone: Literal["MobileNetV2", "EfficientNetV2B0"] | None = None
    weights: str | None = Field(default=None, min_length=1)
    freeze: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _encoder_has_a_backbone(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("name") == "encoder":
            defaults = {"backbone": "MobileNetV2", "weights": IMAGENET, "freeze": False}
            return given | {key: value for key, value in defaults.items() if given.get(key) is None}
        return given

    @model_validator(mode="after")
    def _others_have_none(self) -> "ModelSettings":
        given = [key for key in ("backbone", "weights", "freeze") if getattr(self, key) is not None]
        if self.name != "encoder" and given:
            raise ValueError(f"{given[0]}: the net {self.name!r} has no backbone; say name: encoder or drop the key")
        return self

    @property
    def weights_file(self) -> str | None:
        """Path of the backbone's weights, if they come from a file of the user's own."""
        return None if self.weights in (None, IMAGENET, NO_WEIGHTS) else self.weights


class AugmentSettings(_Section):
    """How far the random changes of a training photo may go.

    Attributes:
      flip: mirror left and right, with probability one half.
      min_scale, max_scale: side of the visible window relative to the photo's.
      aspect: largest logarithm of the change of aspect ratio.
      rotation: largest angle, in degrees.
      colour: largest relative change of contrast and saturation, and shift of brightness in standard deviations.
      tint: largest shift of each colour channel, in standard deviations.
      grey: probability that a photo loses its colour.
      gamma: largest logarithm of the power that a photo, as 0..1, is raised to.
      cut_and_paste: probability that a rectangle of another photo lies over it, labels and all.
      relax_share: share of the steps, at the end of training, over which every change shrinks.
      relaxed: what is left of each at the last step.
    """

    enabled: bool = True
    flip: bool = True
    min_scale: float = Field(default=0.45, gt=0, le=1)
    max_scale: float = Field(default=1.2, ge=1, le=2)
    aspect: float = Field(default=0.2, ge=0, le=1)
    rotation: float = Field(default=20.0, ge=0, le=180)
    colour: float = Field(default=0.5, ge=0, lt=1)
    tint: float = Field(default=0.3, ge=0, le=2)
    grey: float = Field(default=0.1, ge=0, le=1)
    gamma: float = Field(default=0.4, ge=0, le=2)
    cut_and_paste: float = Field(default=0.7, ge=0, le=1)
    relax_share: float = Field(default=0.4, ge=0, le=1)
    relaxed: float = Field(default=0.2, ge=0, le=1)


class EarlyStopping(_Section):
    """When training stops before its budget is used up.

    Mean IoU is then measured on a part of the training photos, which do not train; never on the evaluation split, which
    the gate judges by. The averaged weights of the best measurement are exported.

    Attributes:
      patience: how many evaluations in a row may bring no new best.
      share: part of the training photos that is held out, told by a hash of each photo's pixels: the same photos in
        every run, so that a warm start is not measured on what it trained on.
    """

    patience: int = Field(default=3, ge=1)
    share: float = Field(default=0.1, gt=0, le=0.5)


class TrainingSettings(_Section):
    """The budget and the recipe.

    Attributes:
      minutes, steps: the budget, one of the two; 4 minutes if neither is given. Minutes are turned into steps by a
        short timing.
      batch_size: photos a step.
      learning_rate: peak of AdamW's cosine schedule, reached after `warmup_share` of the steps.
      weight_decay: of kernels; norms and biases have none.
      dice_weight: weight of the Dice loss beside cross-entropy.
      class_weights: weight of a class's pixels in the cross-entropy, by its name, 1 for those left out; or `balanced`,
        by the inverse of its share of the training pixels.
      focal_gamma: turns the cross-entropy into focal loss; 2 is its authors' choice, 0 is plain cross-entropy.
      ema_decay: decay of the averaged weights that are exported.
      evaluations: how often the learning curve measures the evaluation split, or the held-out photos.
      early_stopping: see `EarlyStopping`; off when left out.
      mixed_precision: `on` computes in float16 with float32 weights and scaled loss, `off` in float32; `auto` is `on`
        where every GPU gains by it (compute capability 7, Volta, or more), `off` elsewhere. The export is float32.
      strategy: over what a step is spread, evenly: `auto` takes all GPUs of the machine, or its CPU; `none` one device;
        `mirrored` all GPUs, be it one; `multi_worker` the devices of all processes that TF_CONFIG names, or where it
        is not set, of `processes` that the Trainer starts on its machine.
      processes: see `strategy`.
      seed: of initial weights, order and augmentation.
      warm_start: whether to start from the latest blessed model; from scratch where there is none or it does not fit.
      checkpoint_seconds: time between two checkpoints, from which a killed training goes on.
    """

    minutes: float | None = Field(default=None, gt=0, le=10_000)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1, le=4096)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    weight_decay: float = Field(default=5e-2, ge=0, le=1)
    warmup_share: float = Field(default=0.08, ge=0, lt=1)
    dice_weight: float = Field(default=0.5, ge=0)
    class_weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] | Literal["balanced"] | None = None
    focal_gamma: float = Field(default=0.0, ge=0, le=10)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    evaluations: int = Field(default=8, ge=1)
    early_stopping: EarlyStopping | None = None
    # YAML reads a bare on or off as a truth value.
    mixed_precision: bool | Literal["auto"] = "auto"
    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = "auto"
    processes: int = Field(default=2, ge=1, le=64)
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

    @model_validator(mode="after")
    def _batch_is_divided_evenly(self) -> "TrainingSettings":
        if self.strategy == MULTI_WORKER and self.batch_size % self.processes:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be split evenly over {self.processes} processes; take a multiple"
            )
        return self
