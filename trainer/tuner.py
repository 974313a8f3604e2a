"""`tuner_fn`: what TFX's Tuner calls. Each trial is a short training, scored on training photos that it did not see.

The evaluation split takes no part: what is chosen by it could not be judged by it.
"""

import keras_tuner
from absl import logging
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.oracles import BayesianOptimizationOracle
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from trainer.batches import count_examples, evaluation_batches, held_out_records, training_batches
from trainer.features import FeatureSpec
from trainer.loop import Learner
from trainer.settings import ModelSettings, TrainingSettings
from trainer.tuning import TuningSettings, holds, overlay, setting, typed_space

OBJECTIVE = "mean_iou"


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Prepares the search.

    Args:
      fn_args: TFX's arguments. `custom_config` holds the JSON of `feature_spec`, `model`, `training` and `tuning`.

    Raises:
      ValueError: if no photo is left for training.
    """
    config = fn_args.custom_config
    tuner = SegmentationTuner(
        FeatureSpec.model_validate_json(config["feature_spec"]),
        ModelSettings.model_validate_json(config["model"]),
        TrainingSettings.model_validate_json(config["training"]),
        TuningSettings.model_validate_json(config["tuning"]),
        fn_args.train_files,
        fn_args.working_dir,
    )
    return TunerFnResult(tuner=tuner, fit_kwargs={})


class OwnValuesFirst(BayesianOptimizationOracle):
    """keras-tuner's search, random at first and then by what was found (Snoek et al. 2012).

    It begins with the values that the config has, so that what it finds best is held against them.
    """

    def __init__(self, own: dict | None, **options):
        super().__init__(**options)
        self._own = own

    def populate_space(self, trial_id: str) -> dict:
        if self._own is not None and not self.trials:
            return {"status": "RUNNING", "values": dict(self._own)}
        return super().populate_space(trial_id)


class SegmentationTuner(BaseTuner):
    """Trains with the same `Learner` and the same batches as a run, on all but the held-out training photos."""

    def __init__(
        self,
        spec: FeatureSpec,
        model: ModelSettings,
        training: TrainingSettings,
        tuning: TuningSettings,
        files: list[str],
        directory: str,
    ):
        self._spec, self._model, self._files, self._held_out = spec, model, files, tuning.held_out
        self._training = tuning.trial_training(training)
        photos, held_out = count_examples(files), len(held_out_records(files, tuning.held_out))
        self._photos = photos - held_out
        if not 0 < held_out < photos:
            raise ValueError(
                f"tuning.held_out {tuning.held_out} keeps back {held_out} of {photos} training photos, and both parts "
                f"need some; change the share or ingest more photos"
            )
        space = typed_space(tuning, model, training)
        own = {path: setting(model, training, path) for path in space}
        oracle = OwnValuesFirst(
            own if holds(space, own) else None,
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=tuning.trials,
            hyperparameters=_hyperparameters(space),
            seed=tuning.seed,
        )
        super().__init__(oracle, directory=directory, project_name="tuning")

    def run_trial(self, trial, *_, **__) -> dict[str, float]:
        """Trains with the trial's values; returns mean IoU on the held-out photos, at the model's size."""
        model, training = overlay(self._model, self._training, trial.hyperparameters.values)
        learner = Learner(self._spec, model, training)

        def batches(steps: int | None = None):
            return iter(training_batches(self._files, self._photos, self._spec, training, steps=steps))

        steps = training.steps or learner.steps_for(training.minutes, batches())
        held_out = evaluation_batches(self._files, self._spec, training.batch_size, self._held_out)
        curve = learner.fit(steps, batches(steps), held_out, lambda step, point: None)
        logging.info("trial %s, %d steps: %s", trial.trial_id, steps, curve[-1])
        return {OBJECTIVE: curve[-1][OBJECTIVE]}

    def on_search_end(self) -> None:
        """TFX would write the values of a failed trial as the best.

        Raises:
          RuntimeError: if no trial came through; it says why the last did not.
        """
        trials = list(self.oracle.trials.values())
        if all(trial.score is None for trial in trials):
            why = (trials[-1].message or "the score is no number").strip().splitlines()[-1]
            raise RuntimeError(f"none of {len(trials)} trials came through ({why}); narrow tuning.space")


def _hyperparameters(space: dict) -> keras_tuner.HyperParameters:
    """The space in keras-tuner's terms."""
    parameters = keras_tuner.HyperParameters()
    for path, choices in space.items():
        if isinstance(choices, list):
            parameters.Choice(path, choices)
        else:
            draw = parameters.Int if isinstance(choices.min, int) else parameters.Float
            draw(path, choices.min, choices.max, sampling="log" if choices.log else "linear")
    return parameters
