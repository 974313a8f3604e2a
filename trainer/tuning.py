"""The search space of `segpipe tune`: which settings may vary and how far; the `tuning` section of the config.

    tuning:
      space:
        training.learning_rate: {min: 0.001, max: 0.01, log: true}
        model.filters: [12, 16, 24]

A key is the path of a setting, and what may stand there is what the setting itself allows.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trainer.settings import MULTI_WORKER, ModelSettings, TrainingSettings

_DEFAULT_STEPS = 100
_BUDGET = ("training.minutes", "training.steps")


class Range(BaseModel):
    """Every number from `min` to `max`, both included; with `log`, each factor of ten is equally likely."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int | float
    max: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.min >= self.max:
            raise ValueError(f"min {self.min} is not below max {self.max}")
        if self.log and self.min <= 0:
            raise ValueError(f"log needs a min above 0, got {self.min}")
        return self


class TuningSettings(BaseModel):
    """What a search may vary, and its budget.

    Attributes:
      space: path of a setting -> `{min, max, log}` or a list of values.
      trials: how many combinations are tried; the first is the config's own, if the space holds it.
      steps, minutes: of each trial, one of the two; 100 steps if neither is given.
      held_out: share of the training photos that is kept back to score the trials. The evaluation split stays unseen.
      seed: of the search.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: dict[str, Range | list[Any]] = Field(
        default={
            "training.learning_rate": Range(min=1e-3, max=1e-2, log=True),
            "training.dice_weight": [0.25, 0.5, 1.0],
        },
        min_length=1,
    )
    trials: int = Field(default=4, ge=1, le=1000)
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0, le=10_000)
    held_out: float = Field(default=0.2, gt=0, lt=1)
    # keras-tuner takes 0 for no seed.
    seed: int = Field(default=17, ge=1)

    @field_validator("space")
    @classmethod
    def _lists_hold_values(cls, space: dict[str, Range | list[Any]]) -> dict[str, Range | list[Any]]:
        for path, choices in space.items():
            if isinstance(choices, list) and not choices:
                raise ValueError(f"{path} lists no value; give at least one")
            if path in _BUDGET:
                raise ValueError(f"{path} is the budget of a run; give each trial's as tuning.steps or tuning.minutes")
        return space

    @model_validator(mode="after")
    def _one_budget(self) -> "TuningSettings":
        if self.steps is not None and self.minutes is not None:
            raise ValueError("give either steps or minutes as the budget of a trial")
        return self

    def trial_training(self, training: TrainingSettings) -> TrainingSettings:
        """The recipe with a trial's budget.

        Photos are kept back as for early stopping, which a curve of one point never causes.
        """
        steps = _DEFAULT_STEPS if self.minutes is None and self.steps is None else self.steps
        held_out = {"share": self.held_out, "patience": 1}
        budget = {"steps": steps, "minutes": self.minutes, "evaluations": 1, "early_stopping": held_out}
        if training.strategy == MULTI_WORKER:
            # One process searches.
            budget["strategy"] = "auto"
        return TrainingSettings.model_validate(training.model_dump() | budget)


def setting(model: ModelSettings, training: TrainingSettings, path: str) -> Any:
    """The value at a path such as `training.learning_rate`.

    Raises:
      ValueError: if there is no such setting.
    """
    place: Any = {"model": model, "training": training}
    for key in path.split("."):
        fields = list(place) if isinstance(place, dict) else list(getattr(type(place), "model_fields", ()))
        if key not in fields:
            have = f"; there are {', '.join(fields)}" if fields else ""
            raise ValueError(f"{path} is no setting of the net or its training{have}")
        place = place[key] if isinstance(place, dict) else getattr(place, key)
    if isinstance(place, BaseModel):
        raise ValueError(f"{path} is a section; name one of {', '.join(type(place).model_fields)} in it")
    return place


def overlay(
    model: ModelSettings, training: TrainingSettings, values: dict[str, Any]
) -> tuple[ModelSettings, TrainingSettings]:
    """The settings with some values replaced.

    Args:
      model, training: what stays where `values` names nothing.
      values: path -> value.

    Raises:
      ValueError: if a path or a value is wrong; it names both.
    """
    sections = {"model": model.model_dump(), "training": training.model_dump()}
    for path, value in values.items():
        setting(model, training, path)
        *parents, key = path.split(".")
        place = sections
        for parent in parents:
            place = place[parent]
        place[key] = value
    try:
        return ModelSettings.model_validate(sections["model"]), TrainingSettings.model_validate(sections["training"])
    except ValidationError as error:
        problem = error.errors()[0]
        given = ", ".join(f"{path} {value!r}" for path, value in values.items())
        raise ValueError(f"{given}: {problem['msg'].removeprefix('Value error, ')}") from error


def typed_space(
    tuning: TuningSettings, model: ModelSettings, training: TrainingSettings
) -> dict[str, Range | list[Any]]:
    """The space with each value as the setting itself has it: to YAML 1e-3 is a string.

    Raises:
      ValueError: if a setting does not exist or a value is none that can be searched.
    """

    def typed(path: str, value: Any) -> Any:
        found = setting(*overlay(model, training, {path: value}), path)
        if not isinstance(found, bool | int | float | str):
            raise ValueError(f"{path} {value!r}: only numbers, words, true and false can be searched")
        return found

    space = {}
    for path, choices in tuning.space.items():
        if isinstance(choices, list):
            space[path] = [typed(path, value) for value in choices]
            continue
        low, high = typed(path, choices.min), typed(path, choices.max)
        if isinstance(low, bool | str):
            raise ValueError(f"{path} takes no range; list its values")
        space[path] = Range(min=low, max=high, log=choices.log)
    return space


def holds(space: dict[str, Range | list[Any]], values: dict[str, Any]) -> bool:
    """Whether a space holds a combination of values."""

    def inside(choices: Range | list[Any], value: Any) -> bool:
        if isinstance(choices, list):
            return value in choices
        return value is not None and choices.min <= value <= choices.max

    return all(inside(choices, values[path]) for path, choices in space.items())
