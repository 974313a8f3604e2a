"""The exported model: one transform graph for training and serving, five signatures, two loaders, no segpipe."""

import io
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2
from trainer_helpers import SPEC, draw_mask, draw_photo, encode, serialise

from trainer.batches import evaluation_batches
from trainer.features import DESCRIPTION, IMAGE, FeatureSpec
from trainer.preprocessing import unpack_labels, unpack_pixels
from trainer.signatures import export


@pytest.fixture(scope="module")
def signatures(exported):
    """Name of a signature -> a function from encoded photos or serialised examples to arrays."""
    return {name: _asked(function) for name, function in tf.saved_model.load(exported.folder).signatures.items()}


def _asked(function):
    (argument,) = function.structured_input_signature[1]
    return lambda strings: {k: v.numpy() for k, v in function(**{argument: tf.constant(strings)}).items()}


def trained_on(transformed) -> tuple[np.ndarray, np.ndarray]:
    """What the training loop sees of the photos."""
    return next(evaluation_batches([transformed.pattern], SPEC, len(transformed.photos)).as_numpy_iterator())


def test_training_and_serving_see_the_same_tensor(transformed, signatures):
    pixels, labels = trained_on(transformed)
    served = signatures["transform_features"](transformed.raw)
    assert {name: value.shape for name, value in served.items()} == {"pixels": (7, 1), "labels": (7, 1)}
    np.testing.assert_array_equal(unpack_pixels(tf.constant(served["pixels"]), SPEC), pixels)
    np.testing.assert_array_equal(unpack_labels(tf.constant(served["labels"]), SPEC), labels)
    # The photos differ, so equal tensors are no accident.
    assert len({photo.tobytes() for photo in pixels}) == 7


def test_the_export_neither_rewrites_source_nor_saves_the_transform_twice(transformed, exported, tmp_path, capsys):
    tf.autograph.set_verbosity(1, alsologtostdout=True)
    try:
        export(exported.model, tft.TFTransformOutput(transformed.graph), SPEC, str(tmp_path), {})
    finally:
        tf.autograph.set_verbosity(0)
    said = capsys.readouterr().out
    assert "Converted call" in said, "AutoGraph no longer says what it is asked for"
    assert "ExportedModel" not in said and "tf_keras" not in said
    # Both take seconds; the second also at each load.
    assert not hasattr(tf.saved_model.load(str(tmp_path)).transform, "_default_save_signature")


def test_flip_averaging_answers_alike_for_a_photo_and_its_mirror_image(transformed, exported, tmp_path):
    plain = _asked(tf.saved_model.load(exported.folder).signatures["serving_default"])
    graph = tft.TFTransformOutput(transformed.graph)
    export(exported.model, graph, SPEC, str(tmp_path), {}, flip_average=True)
    averaged = _asked(tf.saved_model.load(str(tmp_path)).signatures["serving_default"])
    # PNG, and just the model's size: a mirrored photo must be the same pixels in another order.
    photo = draw_photo(
        np.random.default_rng(5), draw_mask(np.random.default_rng(6), SPEC.height, SPEC.width, [1, 2, 3])
    )
    both = [encode(photo), encode(photo[:, ::-1])]
    here, there = averaged(both)["probabilities"]
    np.testing.assert_allclose(here, there[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(here.sum(axis=-1), 1, atol=1e-5)
    here, there = plain(both)["probabilities"]
    assert np.abs(here - there[:, ::-1]).max() > 0.01, "without averaging the net does tell left from right"


def test_training_evaluation_and_serving_predict_the_same(transformed, exported, signatures):
    pixels, _ = trained_on(transformed)
    logits = exported.model(pixels, training=False).numpy().astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    from_examples = signatures["from_examples"](transformed.raw)
    served = signatures["serving_default"](transformed.photos)
    np.testing.assert_array_equal(from_examples["probabilities"], served["probabilities"])
    np.testing.assert_array_equal(from_examples["mask"], served["mask"])
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(served["mask"], served["probabilities"].argmax(axis=-1))
    # The net says different things of different pixels, so equal predictions are no accident.
    assert len(np.unique(served["mask"])) == 3
    assert served["probabilities"].std(axis=(0, 1, 2)).min() > 0.01


def test_masks_are_pngs_of_the_class_ids(transformed, signatures):
    served = signatures["serving_default"](transformed.photos)["mask"]
    opened = [Image.open(io.BytesIO(png)) for png in signatures["masks"](transformed.photos)["mask_png_bytes"]]
    assert {(picture.format, picture.mode) for picture in opened} == {("PNG", "L")}
    np.testing.assert_array_equal(np.stack([np.asarray(picture) for picture in opened]), served)


def test_batch_inference_gets_the_same_masks_a_row_each(transformed, signatures):
    found = signatures["masks_from_examples"](transformed.raw)["mask_png_bytes"]
    assert found.shape == (7, 1)
    np.testing.assert_array_equal(found[:, 0], signatures["masks"](transformed.photos)["mask_png_bytes"])


@pytest.mark.parametrize("name", ["serving_default", "masks", "from_examples", "masks_from_examples"])
def test_no_photos_get_no_answers(signatures, name):
    answers = signatures[name](np.array([], dtype=object).astype("S"))
    full = {"mask": (0, 32, 48), "probabilities": (0, 32, 48, 3)}
    shapes = {"masks": {"mask_png_bytes": (0,)}, "masks_from_examples": {"mask_png_bytes": (0, 1)}}
    assert {key: value.shape for key, value in answers.items()} == shapes.get(name, full)


def test_a_photo_needs_no_mask_to_be_predicted(transformed, signatures):
    bare = signatures["from_examples"]([serialise(**{IMAGE: photo}) for photo in transformed.photos])
    full = signatures["from_examples"](transformed.raw)
    np.testing.assert_array_equal(bare["probabilities"], full["probabilities"])


def test_a_photo_is_predicted_the_same_alone_and_in_a_batch(transformed, signatures):
    together = signatures["serving_default"](transformed.photos)["probabilities"]
    for photo, probabilities in zip(transformed.photos, together, strict=True):
        alone = signatures["serving_default"]([photo])["probabilities"][0]
        np.testing.assert_allclose(alone, probabilities, atol=1e-5)


def picture() -> Image.Image:
    """A picture of few colours, which every lossless format keeps."""
    rng = np.random.default_rng(7)
    drawn = draw_photo(rng, draw_mask(rng, 60, 80, [1, 2, 3])) // 85 * 85
    return Image.fromarray(drawn)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("BMP", "RGB"), ("GIF", "P")]
)
def test_one_picture_in_any_lossless_format_is_one_prediction(signatures, kind, mode):
    buffer = io.BytesIO()
    (picture().quantize(256) if mode == "P" else picture().convert(mode)).save(buffer, kind)
    np.testing.assert_array_equal(np.asarray(Image.open(buffer).convert("RGB")), np.asarray(picture()))
    plain = signatures["serving_default"]([encode(np.asarray(picture()))])
    found = signatures["serving_default"]([buffer.getvalue()])
    np.testing.assert_array_equal(found["probabilities"], plain["probabilities"])


def test_a_grey_jpeg_is_a_photo_like_any_other(signatures):
    grey = np.asarray(picture().convert("L"))
    found = signatures["serving_default"]([encode(grey, "JPEG")])["probabilities"]
    three = signatures["serving_default"]([encode(np.repeat(grey[..., np.newaxis], 3, axis=-1))])["probabilities"]
    assert np.abs(found - three).mean() < 0.02


def test_what_is_no_picture_is_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
        signatures["serving_default"]([b"hello"])


def test_the_model_describes_itself(exported):
    with open(os.path.join(exported.folder, DESCRIPTION)) as file:
        description = json.load(file)
    assert FeatureSpec.model_validate(description.pop("feature_spec")) == SPEC
    colours = {"pet": "#e4572e", "background": "#17435e", "contour": "#ffc914"}
    assert description == {"colours": colours, "steps": 3, "seed": 4}


def test_tensorflow_serving_can_warm_the_model_up(exported):
    loaded = tf.saved_model.load(exported.folder)
    path = os.path.join(exported.folder, "assets.extra", "tf_serving_warmup_requests")
    assert os.path.getsize(path) < 20_000
    warmed = {}
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        warmed[request.model_spec.signature_name] = loaded.signatures[request.model_spec.signature_name](**inputs)
    assert set(warmed) == {"serving_default", "masks"}
    (mask,) = warmed["serving_default"]["mask"].numpy()
    (png,) = warmed["masks"]["mask_png_bytes"].numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), mask)
    assert mask.shape == (SPEC.height, SPEC.width)


# Runs in a process of its own, where neither segpipe nor the library that traced the graph can be imported.
QUERY = textwrap.dedent(
    """
    import importlib.abc, json, sys

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("trainer", "components", "pipeline", "schema", "tensorflow_transform"):
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Absent())
    import numpy as np
    import tensorflow as tf

    folder, photo_files, output = sys.argv[1], sys.argv[2:-1], sys.argv[-1]
    photos = [open(file, "rb").read() for file in photo_files]
    mask = tf.io.encode_png(np.full([9, 9, 1], 3, np.uint8)).numpy()
    feeds = {"image_bytes": photos, "examples": []}
    for photo in photos:
        example = tf.train.Example()
        example.features.feature["image"].bytes_list.value.append(photo)
        example.features.feature["mask"].bytes_list.value.append(mask)
        feeds["examples"].append(example.SerializeToString())
    arrays, facts = {}, {}

    loaded = tf.saved_model.load(folder)
    for signature, function in loaded.signatures.items():
        (argument,) = function.structured_input_signature[1]
        for name, value in function(**{argument: tf.constant(feeds[argument])}).items():
            arrays["tf2/" + signature + "/" + name] = value.numpy()

    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        for signature, entry in meta.signature_def.items():
            if not entry.inputs:
                continue
            (argument,) = entry.inputs
            facts[signature] = {"method": entry.method_name, "tensors": {
                name: [tf.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim]]
                for name, info in [*entry.inputs.items(), *entry.outputs.items()]
            }}
            fetches = {name: info.name for name, info in entry.outputs.items()}
            for name, value in session.run(fetches, {entry.inputs[argument].name: feeds[argument]}).items():
                arrays["tf1/" + signature + "/" + name] = value

    assert not {"trainer", "components", "tensorflow_transform"} & set(sys.modules)
    # Strings come as objects, which need pickle; PNGs compare as hex.
    strings = {key: [v.hex() for v in a.ravel()] for key, a in arrays.items() if a.dtype == object}
    np.savez(output, **{key: a for key, a in arrays.items() if a.dtype != object})
    print(json.dumps({"facts": facts, "strings": strings}))
    """
)


@pytest.fixture(scope="module")
def elsewhere(exported, tmp_path_factory):
    """The photos, and what both loaders answered in a fresh process."""
    folder = tmp_path_factory.mktemp("elsewhere")
    photos = []
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        picture().save(folder / f"photo.{kind.lower()}")
        photos.append(folder / f"photo.{kind.lower()}")
    (folder / "query.py").write_text(QUERY)
    done = subprocess.run(
        # Isolated: no PYTHONPATH, no user site, not the current folder.
        [sys.executable, "-I", str(folder / "query.py"), exported.folder, *map(str, photos), str(folder / "found.npz")],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    printed = json.loads(done.stdout.splitlines()[-1])
    with np.load(folder / "found.npz") as found:
        arrays = dict(found)
    return [photo.read_bytes() for photo in photos], printed["facts"], arrays, printed["strings"]


def test_the_signatures_are_those_that_clients_were_promised(elsewhere):
    _, facts, _, _ = elsewhere
    h, w, c = SPEC.height, SPEC.width, SPEC.num_classes
    prediction = {"mask": ["uint8", [-1, h, w]], "probabilities": ["float32", [-1, h, w, c]]}
    assert {name: fact["tensors"] for name, fact in facts.items()} == {
        "serving_default": {"image_bytes": ["string", [-1]], **prediction},
        "masks": {"image_bytes": ["string", [-1]], "mask_png_bytes": ["string", [-1]]},
        "from_examples": {"examples": ["string", [-1]], **prediction},
        "masks_from_examples": {"examples": ["string", [-1]], "mask_png_bytes": ["string", [-1, 1]]},
        "transform_features": {
            "examples": ["string", [-1]],
            "pixels": ["string", [-1, 1]],
            "labels": ["string", [-1, 1]],
        },
    }
    assert {fact["method"] for fact in facts.values()} == {"tensorflow/serving/predict"}


def test_both_loaders_answer_alike_and_as_the_net_was_trained_here(elsewhere, signatures):
    photos, facts, arrays, strings = elsewhere
    here = signatures["serving_default"](photos)
    for signature in ("serving_default", "from_examples"):
        for loader in ("tf1", "tf2"):
            probabilities = arrays[f"{loader}/{signature}/probabilities"]
            mask = arrays[f"{loader}/{signature}/mask"]
            assert (probabilities.shape, probabilities.dtype) == ((4, 32, 48, 3), np.float32)
            assert (mask.shape, mask.dtype) == ((4, 32, 48), np.uint8)
            np.testing.assert_allclose(probabilities, here["probabilities"], atol=1e-5)
            np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, atol=1e-5)
            np.testing.assert_array_equal(mask, here["mask"])
    for output in (
        "masks/mask_png_bytes",
        "masks_from_examples/mask_png_bytes",
        "transform_features/pixels",
        "transform_features/labels",
    ):
        assert strings[f"tf1/{output}"] == strings[f"tf2/{output}"]
        assert len(strings[f"tf2/{output}"]) == 4
    # Every mask here is contour alone, label 2.
    assert set(strings["tf1/transform_features/labels"]) == {"02" * (32 * 48)}
    for png, mask in zip(strings["tf1/masks/mask_png_bytes"], here["mask"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(bytes.fromhex(png)))), mask)
