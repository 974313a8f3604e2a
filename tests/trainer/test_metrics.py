"""The metrics through TFMA itself: a model of known predictions and an exported one, against sums over pixels."""

import json
import math

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig
from trainer_helpers import (
    SPEC,
    bilinear,
    brute_half_widths,
    draw_mask,
    draw_photo,
    encode,
    scores_of_photos,
    serialise,
)

from trainer import photo_size
from trainer.features import FILENAME, IMAGE, MASK
from trainer.metrics import RANKING, CollectTallies, SegmentationMetrics
from trainer.photo_size import true_labels
from trainer.preprocessing import shrink_labels

PAINTED = "painted"
TOLERANCES = [3, 1]
# One size is the model's own. The birds show no contour, and nothing is predicted as contour there.
PHOTOS = [("cat", 32, 48), ("cat", 75, 101), ("dog", 50, 60), ("dog", 20, 30), ("bird", 64, 96)]


class Painted(tf.Module):
    """A model that reads its probabilities from the example, so that a test can choose them."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def from_examples(self, examples):
        painted = tf.io.parse_example(examples, {PAINTED: tf.io.FixedLenFeature([], tf.string)})[PAINTED]
        probabilities = tf.reshape(tf.io.decode_raw(painted, tf.float32), [-1, SPEC.height, SPEC.width, 3])
        return {"mask": tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8), "probabilities": probabilities}


def draw(number: int, breed: str, height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    mask = draw_mask(rng, height, width, [1, 2, 4, 255] if breed == "bird" else [1, 2, 3, 4, 255], block=9)
    probabilities = rng.dirichlet([1, 1, 1], size=[SPEC.height, SPEC.width]).astype(np.float32)
    if breed == "bird":
        probabilities[..., 2] = 0
    name = f"{breed}_{number}.jpg".encode()
    return {"name": name, "mask": mask, "probabilities": probabilities, "photo": draw_photo(rng, mask)}


@pytest.fixture(scope="module")
def drawn():
    return [draw(number, *photo) for number, photo in enumerate(PHOTOS)]


def evaluate(folder, records: str, models: dict[str, str]) -> dict[tuple[str, str], dict[str, float]]:
    """Runs TFMA over records and models; (slice or "", model) -> metric -> value."""
    config = EvalConfig()
    for number, name in enumerate(models):
        config.model_specs.add(name=name, signature_name="from_examples", is_baseline=number == 1)
    config.slicing_specs.add()
    config.slicing_specs.add(feature_keys=["breed"])
    config.metrics_specs.add().metrics.add(
        class_name=SegmentationMetrics.__name__,
        module=SegmentationMetrics.__module__,
        config=json.dumps({"feature_spec": SPEC.model_dump_json(), "tolerances": TOLERANCES, "fingerprint": "f"}),
    )
    shared = [
        tfma.default_eval_shared_model(path, eval_config=config, model_name=name, tags=[tf.saved_model.SERVING])
        for name, path in models.items()
    ]
    tfma.run_model_analysis(
        eval_shared_model=shared if len(shared) > 1 else shared[0],
        eval_config=config,
        data_location=records,
        output_path=str(folder),
    )
    found = {}
    for record in tfma.load_metrics(str(folder)):
        name = "".join(key.bytes_value.decode() for key in record.slice_key.single_slice_keys)
        for item in record.metric_keys_and_values:
            if not item.key.is_diff:
                values = found.setdefault((name, item.key.model_name), {})
                is_score = item.value.WhichOneof("type") == "double_value"
                values[item.key.name] = item.value.double_value.value if is_score else item.value.bytes_value
    return found


@pytest.fixture(scope="module")
def records(drawn, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("records") / "examples.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for (breed, _, _), one in zip(PHOTOS, drawn, strict=True):
            features = {IMAGE: encode(one["photo"], "JPEG"), MASK: encode(one["mask"]), FILENAME: one["name"]}
            features |= {PAINTED: one["probabilities"].tobytes(), "breed": breed.encode()}
            writer.write(serialise(**features))
    return path


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> str:
    module, folder = Painted(), str(tmp_path_factory.mktemp("painted"))
    tf.saved_model.save(module, folder, signatures={"from_examples": module.from_examples})
    return folder


@pytest.fixture(scope="module")
def alone(records, painted, tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("alone"), records, {"candidate": painted})


@pytest.fixture(scope="module")
def compared(records, painted, exported, tmp_path_factory):
    models = {"candidate": exported.folder, "baseline": painted}
    return evaluate(tmp_path_factory.mktemp("compared"), records, models)


def labelled(one: dict[str, np.ndarray], own_size: bool) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of one photo."""
    labels = true_labels(encode(one["mask"]), SPEC)
    probabilities = one["probabilities"]
    if own_size:
        return labels, bilinear(probabilities, *labels.shape).argmax(axis=-1).astype(np.uint8)
    return shrink_labels(tf.constant(labels), SPEC).numpy(), probabilities.argmax(axis=-1).astype(np.uint8)


def expected(drawn, breed: str) -> dict[str, float]:
    chosen = [one for photo, one in zip(PHOTOS, drawn, strict=True) if breed in ("", photo[0])]
    values = {"photos": float(len(chosen))}
    for prefix, own_size, tolerance in (("", True, TOLERANCES[0]), ("model_size/", False, TOLERANCES[1])):
        photos = [labelled(one, own_size) for one in chosen]
        found = scores_of_photos(photos, SPEC.class_names, 1, tolerance)
        values |= {prefix + name: value for name, value in found.items()}
        if own_size:
            intervals = brute_half_widths(photos, SPEC.class_names, 1, tolerance)
            values |= {"half_width/" + name: value for name, value in intervals.items()}
            truth, guess = (np.concatenate([photo[part].ravel() for photo in photos]) for part in (0, 1))
            for row, is_ in enumerate(SPEC.class_names):
                for column, called in enumerate(SPEC.class_names):
                    count = ((truth == row) & (guess == column)).sum()
                    values[f"confusion/{is_}/{called}"] = float(count)
    return values


@pytest.mark.parametrize("breed", ["", "cat", "dog", "bird"])
@pytest.mark.parametrize("beside", ["nothing", "another model"])
def test_tfma_agrees_with_numpy(drawn, alone, compared, breed, beside):
    found = dict(alone[breed, ""] if beside == "nothing" else compared[breed, "baseline"])
    found.pop(RANKING)
    assert found == pytest.approx(expected(drawn, breed), abs=1e-9, nan_ok=True)


def test_every_slice_and_no_other_is_measured(alone, compared):
    breeds = {"", "cat", "dog", "bird"}
    assert alone.keys() == {(breed, "") for breed in breeds}
    assert compared.keys() == {(breed, model) for breed in breeds for model in ("candidate", "baseline")}


def test_the_names_are_those_that_the_gate_and_the_report_look_up(alone):
    scores = {"mean_iou", "pixel_accuracy", "binary_iou", "mean_boundary_f1"}
    scores |= {f"{score}/{name}" for score in ("iou", "dice", "boundary_f1") for name in SPEC.class_names}
    counts = {f"confusion/{a}/{b}" for a in SPEC.class_names for b in SPEC.class_names}
    twice = {prefix + name for name in scores for prefix in ("model_size/", "half_width/")}
    assert alone["", ""].keys() == scores | twice | counts | {"photos", RANKING}


def test_a_class_absent_from_a_slice_is_undefined_there(alone):
    bird = alone["bird", ""]
    assert math.isnan(bird["iou/contour"]) and math.isnan(bird["model_size/dice/contour"])
    assert bird["mean_iou"] == pytest.approx((bird["iou/pet"] + bird["iou/background"]) / 2)
    assert alone["", ""]["iou/contour"] > 0


def test_an_exported_model_is_measured_by_what_it_serves(drawn, compared, exported):
    serve = tf.saved_model.load(exported.folder).signatures["serving_default"]
    photos = tf.constant([encode(one["photo"], "JPEG") for one in drawn])
    served = serve(image_bytes=photos)["probabilities"].numpy()
    predicted = [one | {"probabilities": probabilities} for one, probabilities in zip(drawn, served, strict=True)]
    for breed in ("", "cat", "dog", "bird"):
        wanted = expected(predicted, breed)
        found = compared[breed, "candidate"]
        # TFMA batches in its own way, and a last bit may turn a pixel that two classes tie for.
        for name in wanted.keys() - {key for key in wanted if key.startswith(("confusion/", "half_width/"))}:
            assert found[name] == pytest.approx(wanted[name], abs=2e-3, nan_ok=True), name


@pytest.mark.parametrize("breed", ["", "cat"])
def test_the_photos_of_a_slice_are_ranked_by_their_own_mean_iou(drawn, alone, breed):
    found = json.loads(alone[breed, ""][RANKING])
    wanted = {}
    for photo, one in zip(PHOTOS, drawn, strict=True):
        if breed in ("", photo[0]):
            scores = scores_of_photos([labelled(one, own_size=True)], SPEC.class_names, 1, TOLERANCES[0])
            wanted[one["name"].decode()] = scores["mean_iou"]
    ranked = {one["photo"]: one["mean_iou"] for kind in ("worst", "median", "best") for one in found[kind]}
    assert ranked == pytest.approx(wanted, abs=1e-9)
    assert found["worst"][0]["photo"] == min(wanted, key=wanted.get)
    assert found["best"][0]["photo"] == max(wanted, key=wanted.get)
    assert sum(found["histogram"]) == len(wanted)


def tally_of_photo(rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    tallies = np.concatenate([rng.integers(0, 50, [2, 3, 3]), rng.random([2, 3, 1]), np.ones([2, 3, 1])], axis=-1)
    return [f"{rng.integers(1 << 30)}.jpg"], tallies[np.newaxis]


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_however_beam_divides_the_photos_the_scores_are_the_same(parts, compacted):
    rng = np.random.default_rng(0)
    photos = [tally_of_photo(rng) for _ in range(10)]
    combiner = CollectTallies(SPEC, "")

    def collected(bundle):
        accumulator = combiner.create_accumulator()
        for photo in bundle:
            accumulator = combiner.add_input(accumulator, photo)
        return combiner.compact(accumulator) if compacted else accumulator

    # An empty bundle happens when a worker got nothing of a slice.
    accumulators = [collected(photos[start::parts]) for start in range(parts)] + [collected([])]
    merged = {k.name: v for k, v in combiner.extract_output(combiner.merge_accumulators(accumulators)).items()}
    at_once = {k.name: v for k, v in combiner.extract_output(collected(photos)).items()}
    assert merged.pop(RANKING) == at_once.pop(RANKING)
    assert merged == pytest.approx(at_once, abs=1e-12)
    assert merged["photos"] == 10


def test_merging_leaves_what_was_there_alone():
    # Beam may use an accumulator again; one changed in place would count photos twice.
    combiner = CollectTallies(SPEC, "")
    first = combiner.add_input(combiner.create_accumulator(), tally_of_photo(np.random.default_rng(0)))
    merged = combiner.merge_accumulators([first, first])
    combiner.add_input(merged, tally_of_photo(np.random.default_rng(1)))
    assert (len(first), len(merged)) == (1, 3)


def test_no_photos_at_all_have_undefined_scores(tmp_path):
    found = {}
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create([], reshuffle=False)
            | beam.CombineGlobally(CollectTallies(SPEC, ""))
            | beam.Map(
                lambda values: (tmp_path / "found").write_text(json.dumps({k.name: v for k, v in values.items()}))
            )
        )
    found = json.loads((tmp_path / "found").read_text())
    assert found["photos"] == 0
    assert math.isnan(found["mean_iou"]) and math.isnan(found["iou/pet"])


def test_a_wrong_feature_spec_is_an_error_and_not_a_score():
    metric = SegmentationMetrics(feature_spec='{"background": "sky"}', tolerances=TOLERANCES)
    with pytest.raises(ValueError, match="background: 'sky' is none of the classes"):
        metric.computations()


def test_two_models_are_held_against_a_mask_that_is_read_once(records, painted, exported, tmp_path):
    photo_size._truth.cache_clear()
    evaluate(tmp_path, records, {"candidate": exported.folder, "baseline": painted})
    read = photo_size._truth.cache_info()
    assert (read.misses, read.hits) == (len(PHOTOS), len(PHOTOS))
