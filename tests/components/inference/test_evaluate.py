"""evaluate: every number against an independent computation in NumPy."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from drawing import encoded, save
from trainer_helpers import brute_half_widths, scores_of_photos

from components.errors import UsageError
from components.evaluator.settings import MetricSettings
from components.inference.evaluate import evaluate
from components.ingest.settings import DataSettings
from pipeline.cli import main

NAMES, VALUES, IGNORED = ["night", "dusk", "day"], np.array([7, 40, 200], np.uint8), 255
HEIGHT, WIDTH = 32, 48
"""The model's size."""
TOLERANCE = 2
TOLERANCES = MetricSettings(boundary_tolerance=TOLERANCE, model_boundary_tolerance=TOLERANCE)


def photo(height: int, width: int, seed: int) -> bytes:
    """Soft noise of all brightnesses."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (height // 8 + 1, width // 8 + 1, 1))
    return encoded(np.kron(coarse, np.ones((8, 8, 3)))[:height, :width].astype(np.uint8), "JPEG", quality=95)


def labels_of(mask: np.ndarray) -> np.ndarray:
    """uint8 labels 0..2 by the user's values, 255 where nothing counts; 41 is the second value of dusk."""
    table = {7: 0, 40: 1, 41: 1, 200: 2, 255: 255}
    return np.vectorize(table.get)(mask).astype(np.uint8)


def upscaled(one_hot: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear, pixel centres aligned, edges repeated: written out per axis."""
    for axis in (0, 1):
        size = one_hot.shape[axis]
        position = (np.arange(size * factor) + 0.5) / factor - 0.5
        low = np.floor(position).astype(int)
        share = (position - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        first, second = (one_hot.take(np.clip(low + k, 0, size - 1), axis) for k in (0, 1))
        one_hot = first * (1 - share) + second * share
    return one_hot


def predicted(jpeg: bytes, factor: int) -> np.ndarray:
    """What the brightness model says of a photo that is `factor` times its size, at the photo's size."""
    pixels = tf.io.decode_jpeg(jpeg).numpy().astype(np.float64)
    small = pixels.reshape(HEIGHT, factor, WIDTH, factor, 3).mean(axis=(1, 3))
    labels = ((small.sum(axis=-1) + 0.5) / 768 * 3).astype(int)
    return upscaled(np.eye(3)[labels], factor).argmax(axis=-1).astype(np.uint8)


def expected(pairs: list[tuple[bytes, np.ndarray, int]]) -> tuple[dict, dict, list]:
    """Scores, intervals and confusion matrix by their definitions; night is the background of this model."""
    photos = [(labels_of(mask), predicted(jpeg, factor)) for jpeg, mask, factor in pairs]
    truth, guess = (np.concatenate([photo[part].ravel() for photo in photos]) for part in (0, 1))
    matrix = [[int(((truth == t) & (guess == g)).sum()) for g in range(3)] for t in range(3)]
    intervals = brute_half_widths(photos, NAMES, 0, TOLERANCE)
    return scores_of_photos(photos, NAMES, 0, TOLERANCE), none_for_nan(intervals), matrix


def none_for_nan(values: dict) -> dict:
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def write(folder: Path, factors: list[int], classes: int = 3, ignore: bool = True) -> list:
    """Photos and partly right masks; what `expected` wants to know of each."""
    pairs, rng = [], np.random.default_rng(3)
    for number, factor in enumerate(factors):
        jpeg = photo(HEIGHT * factor, WIDTH * factor, number)
        guess = predicted(jpeg, factor)
        wrong = np.kron(rng.random((4 * factor, 6 * factor)), np.ones((8, 8))) < 0.3
        mask = VALUES[np.where(wrong, rng.integers(0, classes, guess.shape), np.minimum(guess, classes - 1))]
        mask[(mask == 40) & (rng.random(mask.shape) < 0.5)] = 41
        if ignore:
            mask[:5] = IGNORED
        save(folder / "photos" / f"p{number}.jpg", jpeg)
        save(folder / "masks" / f"p{number}.png", mask)
        pairs.append((jpeg, mask, factor))
    return pairs


def run(model, folder: Path, done=lambda count, total: None) -> dict:
    return evaluate(
        model,
        str(folder / "photos"),
        str(folder / "masks"),
        DataSettings(),
        TOLERANCES,
        done,
    )


@pytest.mark.parametrize("factors", [[1], [2], [1, 2, 4, 1]], ids=["model's size", "twice its size", "all sizes"])
def test_the_numbers_are_those_of_an_independent_computation(tmp_path, model, factors):
    metrics, intervals, matrix = expected(write(tmp_path, factors))
    found = run(model, tmp_path)
    assert found["metrics"] == pytest.approx(metrics, abs=1e-12)
    assert found["intervals"] == pytest.approx(intervals, abs=1e-9)
    assert found["confusion_matrix"] == matrix
    assert (found["photos"], found["classes"], found["skipped"]) == (len(factors), NAMES, {})
    # The masks were made partly wrong: a comparison of ones would show little.
    assert 0.2 < metrics["mean_iou"] < 0.9


def test_photos_of_the_models_size_score_the_same_at_both_sizes(tmp_path, model):
    write(tmp_path, [1, 1])
    found = run(model, tmp_path)
    assert found["model_size"] == found["metrics"]


def test_a_class_that_is_nowhere_is_undefined_and_left_out_of_the_mean(tmp_path, model):
    dark = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    save(tmp_path / "photos" / "a.png", dark)
    save(tmp_path / "masks" / "a.png", np.full((HEIGHT, WIDTH), 7, np.uint8))
    metrics = run(model, tmp_path)["metrics"]
    assert (metrics["iou/night"], metrics["iou/dusk"], metrics["dice/day"]) == (1.0, None, None)
    assert (metrics["mean_iou"], metrics["pixel_accuracy"]) == (1.0, 1.0)
    # Nothing but background in truth and prediction: there is no foreground to be right or wrong about.
    assert metrics["binary_iou"] is None


def test_what_cannot_be_scored_is_skipped_with_its_reason(tmp_path, model):
    pairs = write(tmp_path, [1, 1])
    jpeg, mask, _ = pairs[0]
    broken = {
        "truncated.jpg": ("undecodable_photo", jpeg[:300], mask),
        "other_size.jpg": ("mask_size", jpeg, mask[1:]),
        "other_values.jpg": ("mask_value", jpeg, np.where(mask == 7, 8, mask).astype(np.uint8)),
        "all_ignored.jpg": ("mask_all_ignored", jpeg, np.full_like(mask, IGNORED)),
    }
    for name, (_, photo_bytes, values) in broken.items():
        save(tmp_path / "photos" / name, photo_bytes)
        save(tmp_path / "masks" / name.replace("jpg", "png"), values)
    save(tmp_path / "photos" / "no_mask.jpg", jpeg)
    calls = []
    found = run(model, tmp_path, lambda *counts: calls.append(counts))
    assert found["skipped"] == {name: reason for name, (reason, _, _) in broken.items()} | {"no_mask.jpg": "no_mask"}
    assert found["photos"] == 2
    assert found["confusion_matrix"] == expected(pairs)[2]
    assert calls == [(count, 6) for count in range(1, 7)]


def test_a_folder_in_which_nothing_fits_is_a_usage_error(tmp_path, model):
    save(tmp_path / "photos" / "a.jpg", photo(HEIGHT, WIDTH, 0))
    save(tmp_path / "masks" / "a.png", np.full((HEIGHT, WIDTH), 1, np.uint8))
    with pytest.raises(UsageError, match=r"photos: no photo could be evaluated \(1 skipped\)"):
        run(model, tmp_path)


def test_the_command_prints_the_same_as_json(tmp_path, model, model_folder):
    write(tmp_path, [1, 2])
    workspace = tmp_path / "workspace"
    shutil.copytree(model_folder, workspace / "serving_model" / "5")
    folders = ["--images", str(tmp_path / "photos"), "--masks", str(tmp_path / "masks")]
    config = tmp_path / "own.yaml"
    config.write_text(f"metrics: {{boundary_tolerance: {TOLERANCE}, model_boundary_tolerance: {TOLERANCE}}}")
    arguments = ["evaluate", *folders, "--workspace", str(workspace), "--config", str(config), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == run(model, tmp_path)
