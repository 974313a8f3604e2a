"""What a user may write under `model` and `training`."""

import pytest
from pydantic import ValidationError

from trainer.settings import AugmentSettings, ModelSettings, TrainingSettings


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (TrainingSettings, {"minutes": 1, "steps": 10}, "either minutes or steps"),
        (TrainingSettings, {"steps": 0}, "greater than or equal to 1"),
        (TrainingSettings, {"minutes": 0}, "greater than 0"),
        (TrainingSettings, {"steps": 5, "batchsize": 4}, "Extra inputs are not permitted"),
        (TrainingSettings, {"steps": 5, "ema_decay": 1.0}, "less than 1"),
        (ModelSettings, {"name": "resnet"}, "'residual' or 'unet'"),
        (ModelSettings, {"filters": 2}, "greater than or equal to 4"),
        (AugmentSettings, {"min_scale": 1.2}, "less than or equal to 1"),
        (AugmentSettings, {"max_scale": 0.9}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused_and_the_rule_named(section, values, message):
    with pytest.raises(ValidationError, match=message):
        section.model_validate(values)


@pytest.mark.parametrize(
    ("given", "minutes", "steps"),
    [
        ({"minutes": 12}, 12, None),
        ({"steps": 100}, None, 100),
        # As a YAML file may leave the other empty.
        ({"minutes": None, "steps": 100}, None, 100),
        ({"batch_size": 8}, 4, None),
    ],
)
def test_there_is_exactly_one_budget(given, minutes, steps):
    settings = TrainingSettings.model_validate(given)
    assert (settings.minutes, settings.steps) == (minutes, steps)
    assert TrainingSettings.model_validate_json(settings.model_dump_json()) == settings
