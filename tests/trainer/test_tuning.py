"""What may be searched: the settings themselves decide."""

import pytest
from pydantic import ValidationError

from trainer.settings import ModelSettings, TrainingSettings
from trainer.tuning import Range, TuningSettings, holds, overlay, setting, typed_space

MODEL, TRAINING = ModelSettings(filters=8), TrainingSettings(steps=50)


def test_values_replace_settings_at_any_depth_and_leave_the_others():
    values = {"model.name": "unet", "training.learning_rate": "1e-3", "training.augment.rotation": 5}
    model, training = overlay(MODEL, TRAINING, values)
    assert model == ModelSettings(filters=8, name="unet")
    assert (training.learning_rate, training.augment.rotation) == (0.001, 5.0)
    assert (training.steps, training.augment.colour) == (50, TRAINING.augment.colour)
    assert setting(model, training, "training.augment.rotation") == 5.0


def test_the_space_has_the_types_of_the_settings():
    space = {
        "training.learning_rate": {"min": "1e-4", "max": "1e-2", "log": True},
        "training.dice_weight": [1, "2e-1"],
        "model.filters": {"min": 4, "max": 24},
        "training.augment.flip": [True, False],
    }
    assert typed_space(TuningSettings(space=space), MODEL, TRAINING) == {
        "training.learning_rate": Range(min=1e-4, max=1e-2, log=True),
        "training.dice_weight": [1.0, 0.2],
        "model.filters": Range(min=4, max=24),
        "training.augment.flip": [True, False],
    }


@pytest.mark.parametrize(
    "space, problem",
    [
        ({"training.lerning_rate": [1]}, "training.lerning_rate is no setting .*there are minutes, steps, batch_size"),
        ({"gate.min_mean_iou": [1]}, "gate.min_mean_iou is no setting of the net or its training; there are model"),
        ({"training.learning_rate.x": [1]}, "training.learning_rate.x is no setting"),
        ({"training.augment": [1]}, "training.augment is a section; name one of enabled, flip"),
        ({"training.learning_rate": {"min": 0.1, "max": 7}}, "training.learning_rate 7.*: .*less than or equal to 1"),
        ({"model.filters": [8, "many"]}, "model.filters 'many': .*valid integer"),
        ({"model.filters": [8, 8.5]}, "model.filters 8.5: .*valid integer"),
        ({"model.filters": [None, 8]}, "model.filters None: only numbers"),
        ({"training.augment.flip": {"min": 0, "max": 1}}, "training.augment.flip takes no range; list its values"),
    ],
)
def test_what_a_run_would_not_take_cannot_be_searched(space, problem):
    with pytest.raises(ValueError, match=problem):
        typed_space(TuningSettings(space=space), MODEL, TRAINING)


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"space": {}}, "at least 1 item"),
        ({"space": {"model.filters": []}}, "model.filters lists no value"),
        ({"space": {"training.steps": [1, 2]}}, "training.steps is the budget of a run"),
        ({"space": {"model.filters": {"min": 8, "max": 8}}}, "min 8 is not below max 8"),
        ({"space": {"training.dice_weight": {"min": 0, "max": 1, "log": True}}}, "log needs a min above 0"),
        ({"steps": 5, "minutes": 1}, "give either steps or minutes"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        TuningSettings(**settings)


@pytest.mark.parametrize(
    "tuning, steps, minutes",
    [({}, 100, None), ({"steps": 7}, 7, None), ({"minutes": 0.5}, None, 0.5)],
)
def test_a_trial_has_its_own_budget(tuning, steps, minutes):
    trial = TuningSettings(**tuning).trial_training(TrainingSettings(minutes=3, learning_rate=0.01))
    assert (trial.steps, trial.minutes, trial.learning_rate) == (steps, minutes, 0.01)


@pytest.mark.parametrize(
    "rate, filters, inside", [(0.1, 8, True), (0.5, 8, False), (0.1, 9, False), (0.1, None, False)]
)
def test_a_space_knows_what_it_holds(rate, filters, inside):
    space = {"training.learning_rate": Range(min=0.01, max=0.2), "model.filters": [8, 16]}
    assert holds(space, {"training.learning_rate": rate, "model.filters": filters}) == inside
