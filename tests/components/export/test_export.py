"""Export: the file answers as the SavedModel does, in its own runtime, and is written only if it does."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from drawing import encoded, halves, write_brightness_model
from trainer_helpers import SPEC

from components.errors import SegpipeError, UsageError
from components.export import convert
from components.export.export import export
from components.export.portable import open_net, photo_pixels
from components.inference.served_model import ServedModel
from trainer.features import IGNORE_LABEL
from trainer.photo_size import predicted_labels, true_labels

FORMATS = ["tflite", "onnx"]


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, model, pairs, tmp_path_factory):
    """Format, file and what the comparison found."""
    path = tmp_path_factory.mktemp("exported") / "new" / f"model.{request.param}"
    return request.param, path, export(model, request.param, str(path), pairs)


def test_the_file_answers_as_the_saved_model(exported, model):
    kind, path, _ = exported
    net = open_net(str(path), kind)
    for pixels in np.random.default_rng(0).uniform(0, 255, [3, 1, SPEC.height, SPEC.width, 3]).astype(np.float32):
        expected = model.from_pixels(pixels)
        np.testing.assert_allclose(net(pixels), expected, atol=1e-4)
        # Flip averaging went along: the answer for the mirrored photo is the mirrored answer.
        np.testing.assert_allclose(net(pixels[:, :, ::-1].copy()), expected[:, :, ::-1], atol=1e-4)
    assert expected.std() > 0.05, "the net says the same of everything, so that agreement shows little"


def test_the_comparison_is_that_of_an_independent_count(exported, model, pairs):
    kind, path, parity = exported
    net = open_net(str(path), kind)
    answers: dict = {"saved": [], "file": []}
    for photo, mask in pairs:
        truth = true_labels(mask, SPEC)
        small = {
            "saved": model.probabilities([photo])[0],
            "file": net(photo_pixels(photo, SPEC.height, SPEC.width))[0],
        }
        for side, probabilities in small.items():
            answers[side].append((truth, predicted_labels(probabilities, *truth.shape)))
    means = {}
    for side, photos in answers.items():
        truth, guess = (np.concatenate([photo[part].ravel() for photo in photos]) for part in (0, 1))
        counted = truth != IGNORE_LABEL
        overlap = [((truth == k) & (guess == k) & counted).sum() for k in range(3)]
        either = [(((truth == k) | (guess == k)) & counted).sum() for k in range(3)]
        means[side] = np.mean(np.divide(overlap, either))
    assert parity.photos == len(pairs)
    assert parity.saved_model.mean_iou == pytest.approx(means["saved"], abs=1e-12)
    assert parity.exported.mean_iou == pytest.approx(means["file"], abs=1e-12)
    same = [(a == b).ravel() for (_, a), (_, b) in zip(*answers.values(), strict=True)]
    assert parity.same_pixels == pytest.approx(np.concatenate(same).mean())
    assert parity.same_pixels > 0.95
    assert parity.exported.bytes == path.stat().st_size < parity.saved_model.bytes
    assert min(parity.exported.latency_ms, parity.saved_model.latency_ms) > 0


CLIENT = {
    "tflite": """
    import tensorflow as tf
    run = tf.lite.Interpreter(file).get_signature_runner()
    answer = run(**{about["input"]["name"]: pixels})
    """,
    "onnx": """
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answer = dict(zip(names, session.run(names, {about["input"]["name"]: pixels})))
    assert "tensorflow" not in sys.modules
    """,
}


def test_a_client_needs_the_file_and_its_description_alone(exported, model, pairs, tmp_path):
    kind, path, _ = exported
    (tmp_path / "photo.jpg").write_bytes(pairs[2][0])
    script = """
    import json, sys
    import numpy as np
    from PIL import Image
    file, photo, output = sys.argv[1:]
    about = json.load(open(file + ".json"))
    _, height, width, _ = about["input"]["shape"]
    photo = Image.open(photo).convert("RGB").resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(photo, np.float32)[np.newaxis]
    """
    ending = """
    assert {name: [value.dtype.name, value.shape[1:]] for name, value in answer.items()} == {
        name: [told["dtype"], tuple(told["shape"][1:])] for name, told in about["outputs"].items()
    }
    assert not {"trainer", "components"} & set(sys.modules)
    values = np.array([c["mask_values"][0] for c in about["classes"]], np.uint8)
    Image.fromarray(values[answer["mask"][0]]).save(output)
    """
    client = "".join(map(textwrap.dedent, (script, CLIENT[kind], ending)))
    output = tmp_path / "mask.png"
    command = [sys.executable, "-I", "-c", client, str(path), str(tmp_path / "photo.jpg"), str(output)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    labels = model.probabilities([pairs[2][0]])[0].argmax(axis=-1)
    values = true_labels(output.read_bytes(), SPEC)
    assert (values == labels).mean() > 0.95


def test_the_description_says_what_the_file_is(exported, model):
    kind, path, parity = exported
    about = json.loads((path.parent / f"{path.name}.json").read_text())
    assert about["format"] == kind
    assert about["model"]["steps"] == 3
    assert [(c["name"], c["mask_values"]) for c in about["classes"]] == [
        ("pet", [1, 4]),
        ("background", [2]),
        ("contour", [3]),
    ]
    assert about["compared"]["exported"]["mean_iou"] == parity.exported.mean_iou
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.json"]


@pytest.fixture(scope="module", params=[("unet", {}), ("encoder", {"weights": "none"})], ids=["unet", "encoder"])
def other_net(request, make_model) -> ServedModel:
    name, options = request.param
    return make_model(name, **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_other_nets_convert_too(other_net, tmp_path, kind):
    path = str(tmp_path / "model")
    convert.main(other_net.folder, kind, path)
    pixels = np.random.default_rng(0).uniform(0, 255, [1, SPEC.height, SPEC.width, 3]).astype(np.float32)
    np.testing.assert_allclose(open_net(path, kind)(pixels), other_net.from_pixels(pixels), atol=1e-4)


def model_with(folder, from_pixels) -> ServedModel:
    """The brightness model, with another function of pixels."""
    write_brightness_model(folder / "whole", SPEC)
    module = tf.Module()
    module.whole = tf.saved_model.load(str(folder / "whole"))
    pixels = tf.TensorSpec([None, SPEC.height, SPEC.width, 3], tf.float32, name="pixels")
    module.from_pixels = tf.function(from_pixels, input_signature=[pixels])
    tf.saved_model.save(module, str(folder / "17"), signatures=module.whole.signatures)
    (folder / "17" / "assets.extra").mkdir()
    (folder / "whole" / "assets.extra" / "segpipe.json").rename(folder / "17" / "assets.extra" / "segpipe.json")
    return ServedModel(str(folder / "17"))


def test_a_file_that_answers_otherwise_is_not_written(tmp_path):
    def background_everywhere(pixels):
        labels = tf.ones(tf.shape(pixels)[:3], tf.int32)
        return {"mask": tf.cast(labels, tf.uint8), "probabilities": tf.one_hot(labels, 3)}

    # Dark is pet and bright is contour to the SavedModel, and so it is in this photo.
    photo = np.repeat(halves(20, 230)[..., np.newaxis], 3, axis=-1)
    pairs = [(encoded(photo, "JPEG"), encoded(halves(1, 3), "PNG"))]
    model = model_with(tmp_path, background_everywhere)
    output = tmp_path / "out" / "model.onnx"
    with pytest.raises(SegpipeError, match="model.onnx: is not written, its mean IoU .* differs from the SavedModel's"):
        export(model, "onnx", str(output), pairs)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("kind, other", [("tflite", "onnx"), ("onnx", "tflite")])
def test_what_does_not_convert_is_told_with_the_converters_own_words(tmp_path, pairs, kind, other):
    def with_strings(pixels):
        said = tf.strings.length(tf.strings.as_string(pixels))
        return {"mask": tf.cast(said[..., 0], tf.uint8), "probabilities": tf.cast(said, tf.float32)}

    model = model_with(tmp_path, with_strings)
    with pytest.raises(SegpipeError, match=rf"17: the {kind} converter refused .*String.*; try --format {other}"):
        export(model, kind, str(tmp_path / "model"), pairs)
    assert not (tmp_path / "model").exists()


def test_a_model_of_before_is_named_with_the_mend(tmp_path, pairs):
    model = ServedModel(str(write_brightness_model(tmp_path / "17", SPEC)))
    with pytest.raises(UsageError, match="17: was trained before segpipe could export it; train and push"):
        export(model, "onnx", str(tmp_path / "model.onnx"), pairs)


def test_a_folder_as_output_is_a_usage_error_before_any_work(tmp_path, model, pairs):
    with pytest.raises(UsageError, match="is a folder; name a file"):
        export(model, "onnx", str(tmp_path), pairs)
