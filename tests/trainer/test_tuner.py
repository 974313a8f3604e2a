"""`tuner_fn` as TFX's Tuner calls it: real short trainings on real records."""

import pytest
from tfx.components.trainer.fn_args_utils import FnArgs
from trainer_helpers import SPEC

from trainer.settings import AugmentSettings, ModelSettings, TrainingSettings
from trainer.tuner import tuner_fn
from trainer.tuning import TuningSettings

RATE = "training.learning_rate"


def searched(transformed, folder, rates, trials: int = 2, **training):
    """The tuner after its search over learning rates, two steps a trial."""
    settings = {"steps": 9, "batch_size": 3, "augment": AugmentSettings(enabled=False)} | training
    args = FnArgs(
        train_files=[transformed.pattern],
        # Whoever reads the evaluation split in a search finds nothing here.
        eval_files=[str(folder / "missing*")],
        working_dir=str(folder),
        custom_config={
            "feature_spec": SPEC.model_dump_json(),
            "model": ModelSettings(name="unet", filters=4).model_dump_json(),
            "training": TrainingSettings(**settings).model_dump_json(),
            "tuning": TuningSettings(space={RATE: rates}, trials=trials, steps=2, held_out=0.3).model_dump_json(),
        },
    )
    result = tuner_fn(args)
    result.tuner.search(**result.fit_kwargs, verbose=0)
    return result.tuner


@pytest.fixture(scope="module")
def tuner(transformed, tmp_path_factory):
    return searched(transformed, tmp_path_factory.mktemp("search"), {"min": 1e-4, "max": 1e-2}, learning_rate=0.004)


def values(tuner) -> list[tuple[float, float]]:
    trials = sorted(tuner.oracle.trials.values(), key=lambda trial: trial.trial_id)
    return [(trial.hyperparameters.values[RATE], trial.score) for trial in trials]


def test_the_search_starts_with_the_configs_own_values_and_stays_in_the_space(tuner):
    rates = [rate for rate, _ in values(tuner)]
    assert rates[0] == 0.004
    assert len(set(rates)) == 2 and all(1e-4 <= rate <= 1e-2 for rate in rates)


def test_the_best_is_the_trial_with_the_highest_mean_iou(tuner):
    best = max(values(tuner), key=lambda pair: pair[1])
    assert all(0 <= score <= 1 for _, score in values(tuner))
    assert tuner.get_best_hyperparameters()[0].values == {RATE: best[0]}


def test_the_same_search_finds_the_same(tuner, transformed, tmp_path):
    again = searched(transformed, tmp_path, {"min": 1e-4, "max": 1e-2}, learning_rate=0.004)
    assert values(again) == values(tuner)


def test_own_values_outside_the_space_are_not_tried(transformed, tmp_path):
    tuner = searched(transformed, tmp_path, [0.001, 0.002], trials=1, learning_rate=0.004)
    assert values(tuner)[0][0] in (0.001, 0.002)


def test_a_search_in_which_no_trial_comes_through_fails_with_the_reason(transformed, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.loop.segmentation_loss", lambda labels, logits, *_: logits[0, 0, 0, 0] * float("nan"))
    with pytest.raises(RuntimeError, match="none of 2 trials came through .*loss is nan.*narrow tuning.space"):
        searched(transformed, tmp_path, [0.001, 0.002], trials=2)
