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
        (TrainingSettings, {"steps": 5, "class_weights": {"pet": 0}}, "greater than 0"),
        (TrainingSettings, {"steps": 5, "class_weights": "equal"}, "'balanced'"),
        (TrainingSettings, {"steps": 5, "focal_gamma": -1}, "greater than or equal to 0"),
        (TrainingSettings, {"steps": 5, "early_stopping": {"patience": 0}}, "greater than or equal to 1"),
        (TrainingSettings, {"steps": 5, "early_stopping": {"share": 0.9}}, "less than or equal to 0.5"),
        (TrainingSettings, {"steps": 5, "mixed_precision": "maybe"}, "'auto'"),
        (TrainingSettings, {"steps": 5, "strategy": "tpu"}, "'auto', 'none', 'mirrored' or 'multi_worker'"),
        (ModelSettings, {"name": "resnet"}, "'residual', 'unet' or 'encoder'"),
        (ModelSettings, {"name": "encoder", "backbone": "VGG16"}, "'MobileNetV2' or 'EfficientNetV2B0'"),
        (ModelSettings, {"backbone": "MobileNetV2"}, "backbone: the net 'residual' has no backbone; say name: encoder"),
        (ModelSettings, {"name": "unet", "freeze": False}, "freeze: the net 'unet' has no backbone"),
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


def test_an_encoder_takes_mobilenet_from_imagenet_unless_told():
    settings = ModelSettings(name="encoder", freeze=None)
    assert (settings.backbone, settings.weights, settings.freeze) == ("MobileNetV2", "imagenet", False)
    assert settings.weights_file is None
    assert ModelSettings(name="encoder", weights="own.h5").weights_file == "own.h5"
    assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("written", "meant"), [("on", True), ("off", False), ("auto", "auto"), (True, True), (False, False)]
)
def test_mixed_precision_is_on_off_or_auto_as_yaml_reads_them(written, meant):
    settings = TrainingSettings(steps=1, mixed_precision=written)
    assert settings.mixed_precision == meant
    assert TrainingSettings.model_validate_json(settings.model_dump_json()) == settings
