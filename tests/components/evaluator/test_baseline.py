"""Whether a blessed model can still be compared with, asked of real SavedModels that lost something."""

import os
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from components.evaluator.baseline import lost_baseline


class Net(tf.Module):
    """A model with weights, which is all that matters here."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.ones([64, 64]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def from_examples(self, examples):
        return {"mask": tf.cast(tf.strings.length(examples), tf.float32)[:, tf.newaxis] * self.kernel[0]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder, model = tmp_path_factory.mktemp("whole") / "model", Net()
    tf.saved_model.save(model, str(folder), signatures={"from_examples": model.from_examples})
    return folder


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_a_whole_model_is_no_lost_baseline(whole):
    assert lost_baseline(str(whole)) is None


WEIGHTS = Path("variables", "variables.data-00000-of-00001")


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: os.remove(model / "saved_model.pb"),
        lambda model: halve(model / "saved_model.pb"),
        lambda model: os.truncate(model / "saved_model.pb", 0),
        lambda model: shutil.rmtree(model / "variables"),
        lambda model: os.remove(model / WEIGHTS),
        lambda model: halve(model / WEIGHTS),
        lambda model: flip_a_byte(model / WEIGHTS),
        lambda model: halve(model / "variables" / "variables.index"),
        lambda model: tf.saved_model.save(Net(), str(model)),
    ],
    ids=[
        "no graph",
        "half a graph",
        "empty graph",
        "no variables",
        "no weights",
        "half the weights",
        "a flipped byte",
        "half an index",
        "no signature",
    ],
)
def test_a_damaged_model_is_named_with_what_tensorflow_says(tmp_path, whole, damage):
    model = tmp_path / "model"
    shutil.copytree(whole, model)
    damage(model)
    sentence = lost_baseline(str(model))
    assert sentence.startswith(f"the baseline at {model} cannot be loaded (")
    assert sentence.endswith("), so nothing was compared and only the value thresholds decided")
    assert "\n" not in sentence


def test_a_removed_model_is_named(tmp_path):
    assert lost_baseline(str(tmp_path / "model")) == (
        f"the baseline at {tmp_path}/model is gone, so nothing was compared and only the value thresholds decided"
    )
