"""The canary on real SavedModels, each with one thing wrong."""

import json
import os
import re

import pytest
import tensorflow as tf
from drawing import encoded, pet
from tensorflow_serving.apis import prediction_log_pb2
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.errors import RefusedError
from components.example_gen.read import read_examples
from components.model_canary import probe
from components.model_canary.executor import Executor, write_photos
from components.refusal import refusal_file
from trainer.features import DESCRIPTION, FILENAME, HEIGHT, IMAGE, MASK, WIDTH, FeatureSpec
from trainer.warmup import WARMUP, write_warmup_requests

SPEC = FeatureSpec(height=32, width=48)


class Model(tf.Module):
    """Tells bright from dark as an exported model would; `fault` names what is wrong with it."""

    def __init__(self, fault: str):
        super().__init__()
        self.fault = fault

    def _photo(self, photo):
        if self.fault == "answers to anything":
            return tf.fill([SPEC.height, SPEC.width, 3], tf.cast(tf.strings.length(photo), tf.float32))
        rgb = tf.io.decode_image(photo, channels=3, expand_animations=False)
        rgb.set_shape([None, None, 3])
        return tf.image.resize(rgb, [SPEC.height, SPEC.width])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(self, image_bytes):
        spec = tf.TensorSpec([SPEC.height, SPEC.width, 3], tf.float32)
        pixels = tf.map_fn(self._photo, image_bytes, fn_output_signature=spec)
        if self.fault == "random":
            pixels += tf.random.uniform(tf.shape(pixels), maxval=50.0)
        probabilities = tf.nn.softmax(pixels / 50.0)
        mask = tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8)
        if self.fault == "no distribution":
            probabilities *= 0.5
        if self.fault == "not a number":
            probabilities *= float("nan")
        if self.fault == "other dtype":
            return {"mask": tf.cast(mask, tf.int64), "probabilities": probabilities}
        if self.fault == "other size":
            return {"mask": mask[:, ::2], "probabilities": probabilities}
        if self.fault == "other class":
            return {"mask": tf.cast(2 - mask, tf.uint8), "probabilities": probabilities}
        if self.fault == "no probabilities":
            return {"mask": mask}
        return {"mask": mask, "probabilities": probabilities}


def save_model(folder, fault: str = "") -> str:
    """Writes the model where Trainer would, with its description."""
    path = os.path.join(folder, "Format-Serving")
    module = Model(fault)
    names = ["serving_default", "masks", "from_examples", "masks_from_examples", "transform_features"]
    if fault == "no masks":
        names.remove("masks")
    if fault == "no batch inference":
        names.remove("masks_from_examples")
    serve = module.serving_default.get_concrete_function()
    tf.saved_model.save(module, path, signatures=dict.fromkeys(names, serve))
    if fault == "damaged":
        with open(os.path.join(path, "saved_model.pb"), "r+b") as file:
            file.truncate(100)
    os.makedirs(os.path.dirname(os.path.join(path, DESCRIPTION)))
    with open(os.path.join(path, DESCRIPTION), "w") as file:
        json.dump({"feature_spec": SPEC.model_dump(mode="json")}, file)
    write_warmup_requests(path, SPEC)
    if fault == "no warm-up":
        os.remove(os.path.join(path, WARMUP))
    if fault == "damaged warm-up":
        with open(os.path.join(path, WARMUP), "r+b") as file:
            file.truncate(100)
    if fault == "strange warm-up":
        warm_up_with(os.path.join(path, WARMUP), serving_default=b"this is no photo", maskss=b"")
    return folder


def warm_up_with(path, **photos: bytes) -> None:
    """Writes one warm-up request a signature."""
    with tf.io.TFRecordWriter(path) as writer:
        for signature, photo in photos.items():
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.model_spec.signature_name = signature
            log.predict_log.request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([photo]))
            writer.write(log.SerializeToString())


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Four raw examples in the evaluation split."""
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(tmp_path_factory.mktemp("examples")), '["train", "eval"]'
    os.makedirs(os.path.join(artifact.uri, "Split-eval"))
    with tf.io.TFRecordWriter(os.path.join(artifact.uri, "Split-eval", "a.tfrecord")) as writer:
        for seed in range(4):
            photo, mask = pet(40 + seed, 56, seed)
            example = tf.train.Example()
            for name, value in {IMAGE: encoded(photo, "JPEG"), MASK: encoded(mask, "PNG"), FILENAME: b"a"}.items():
                example.features.feature[name].bytes_list.value.append(value)
            for name, value in {HEIGHT: 40 + seed, WIDTH: 56}.items():
                example.features.feature[name].int64_list.value.append(value)
            writer.write(example.SerializeToString())
    return artifact


@pytest.fixture(scope="module")
def photos(examples, tmp_path_factory) -> str:
    """The folder of what the executor sends to a model."""
    folder = str(tmp_path_factory.mktemp("photos"))
    records = read_examples(os.path.join(examples.uri, "Split-eval"), 4)
    write_photos(folder, [record[IMAGE] for record in records])
    return folder


def judge(tmp_path, examples, fault: str = ""):
    """Runs the executor on a model; the blessing lies where TFX puts that of execution 7."""
    model, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    model.uri = save_model(str(tmp_path / "model"), fault)
    blessing.uri = str(tmp_path / "ModelCanary" / "blessing" / "7")
    os.makedirs(blessing.uri)
    Executor().Do({"model": [model], "examples": [examples]}, {"blessing": [blessing]}, {"fingerprint": "x"})
    return blessing


def test_a_sound_model_is_blessed_with_its_latency_and_memory(tmp_path, examples):
    # What the run itself holds is not the model's.
    held = bytearray(b"1") * (2 << 30)
    blessing = judge(tmp_path, examples)
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_float_custom_property("latency_ms") > 0
    assert 50 < blessing.get_float_custom_property("memory_mb") < len(held) / 2**20
    result = json.loads((tmp_path / "ModelCanary" / "blessing" / "7" / "canary.json").read_text())
    assert (result["photos"], result["problems"]) == (8, [])


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("no masks", "signature masks is missing"),
        ("no batch inference", "signature masks_from_examples is missing"),
        ("no warm-up", "tf_serving_warmup_requests is missing"),
        ("damaged warm-up", "it cannot be loaded and called: DataLossError"),
        ("strange warm-up", "no warm-up request asks for masks"),
        ("strange warm-up", r"a warm-up request for serving_default fails \(InvalidArgumentError"),
        ("strange warm-up", r"a warm-up request for maskss fails \(KeyError"),
        ("damaged", "it cannot be loaded and called"),
        ("no probabilities", "serving_default gives no probabilities"),
        ("other dtype", r"mask is int64\[8, 32, 48\], not uint8\[8, 32, 48\]"),
        ("other size", r"mask is uint8\[8, 16, 48\], not"),
        ("other class", "mask is not the most probable class"),
        ("not a number", r"probabilities are not all in 0\.\.1"),
        ("no distribution", "do not add up to 1"),
        ("answers to anything", "text.jpg gives an answer instead of an error"),
        ("random", "the same photos give different answers"),
    ],
)
def test_a_model_with_a_fault_has_it_named(tmp_path, photos, fault, problem):
    model = save_model(str(tmp_path), fault)
    probe.main(path_utils.serving_model_path(model), photos, str(tmp_path / "result.json"))
    problems = json.loads((tmp_path / "result.json").read_text())["problems"]
    assert any(re.search(problem, sentence) for sentence in problems), problems


def test_a_model_with_faults_is_refused_and_the_reasons_are_kept(tmp_path, examples):
    with pytest.raises(RefusedError, match="the exported model may not serve: no warm-up request asks") as refusal:
        judge(tmp_path, examples, "strange warm-up")
    with open(refusal_file(str(tmp_path / "ModelCanary"), 7)) as file:
        kept = json.load(file)
    assert len(kept) == 3 and all(sentence in str(refusal.value) for sentence in kept)


def test_a_model_that_takes_its_process_down_is_refused_with_what_it_said_last(tmp_path, examples, monkeypatch):
    probe_that_dies = tmp_path / "probe.py"
    probe_that_dies.write_text("raise SystemExit('no memory left')")
    monkeypatch.setattr(probe, "__file__", str(probe_that_dies))
    with pytest.raises(RefusedError, match="the process that loads it died with status 1: no memory left"):
        judge(tmp_path, examples)


def test_the_model_must_do_without_this_project(tmp_path, examples, monkeypatch):
    """PYTHONPATH would let a model import what its server will not have."""
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text("raise SystemExit('the environment came through')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "spy"))
    assert judge(tmp_path, examples).get_int_custom_property("blessed") == 1
