"""Queries a SavedModel in a process of its own, with TensorFlow and nothing of this project.

    python -I probe.py MODEL PHOTOS RESULT

PHOTOS holds encoded photos that must work, and below `broken/` such as must be refused. RESULT gets a JSON object:
`problems` (sentences; none if the model may serve), `photos`, `latency_ms` (median of single photos) and `memory_mb`
(peak of the process).
"""

import json
import os
import resource
import statistics
import sys
import time

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

SIGNATURES = {"serving_default", "masks", "from_examples", "masks_from_examples", "transform_features"}


def read_files(folder):
    """The bytes of each file in a folder, by name."""
    paths = sorted(entry.path for entry in os.scandir(folder) if entry.is_file())
    contents = {}
    for path in paths:
        with open(path, "rb") as file:
            contents[os.path.basename(path)] = file.read()
    return contents


def check_outputs(outputs, count, spec):
    """Sentences about what is wrong with the outputs of `serving_default` for `count` photos."""
    height, width, classes = spec["height"], spec["width"], len(spec["classes"])
    expected = {
        "mask": ("uint8", (count, height, width)),
        "probabilities": ("float32", (count, height, width, classes)),
    }
    for name, (dtype, shape) in expected.items():
        if name not in outputs:
            return [f"serving_default gives no {name}"]
        found = (outputs[name].dtype.name, tuple(outputs[name].shape))
        if found != (dtype, shape):
            return [f"{name} is {found[0]}{list(found[1])}, not {dtype}{list(shape)}"]
    problems = []
    probabilities, mask = outputs["probabilities"].numpy(), outputs["mask"].numpy()
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1:
        problems.append("probabilities are not all in 0..1")
    elif np.abs(probabilities.sum(axis=-1) - 1).max() > 1e-3:
        problems.append("probabilities of a pixel do not add up to 1")
    elif (probabilities.argmax(axis=-1) != mask).any():
        problems.append("mask is not the most probable class")
    return problems


def replay_warmup(path, signatures):
    """Sentences about warm-up requests that TensorFlow Serving could not replay."""
    if not os.path.isfile(path):
        return [f"{os.path.basename(path)} is missing"]
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(path)]
    requests = [log.predict_log.request for log in logs]
    warmed = {request.model_spec.signature_name for request in requests}
    problems = [f"no warm-up request asks for {name}" for name in ("serving_default", "masks") if name not in warmed]
    for request in requests:
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        try:
            signatures[request.model_spec.signature_name](**inputs)
        except (KeyError, TypeError, tf.errors.OpError) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            problems.append(f"a warm-up request for {request.model_spec.signature_name} fails ({reason})")
    return problems


def time_single(serve, photos):
    """Median milliseconds of one photo a call, after every photo was seen once."""
    times = []
    for photo in photos:
        start = time.perf_counter()
        serve(image_bytes=tf.constant([photo]))["mask"].numpy()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def probe(model, photos, broken):
    """Everything that is wrong with a model, and its latency.

    Args:
      model: folder of a SavedModel.
      photos: file name -> encoded photo that must work.
      broken: file name -> bytes that must raise.
    """
    with open(os.path.join(model, "assets.extra", "segpipe.json"), encoding="utf-8") as file:
        spec = json.load(file)["feature_spec"]
    signatures = tf.saved_model.load(model).signatures
    missing = sorted(SIGNATURES - set(signatures))
    if missing:
        return [f"signature {name} is missing" for name in missing], None
    serve, encoded = signatures["serving_default"], tf.constant(list(photos.values()))
    first, second = serve(image_bytes=encoded), serve(image_bytes=encoded)
    problems = check_outputs(first, len(photos), spec)
    if problems:
        return problems, None
    if any((first[name].numpy() != second[name].numpy()).any() for name in ("mask", "probabilities")):
        problems.append("the same photos give different answers")
    problems += replay_warmup(os.path.join(model, "assets.extra", "tf_serving_warmup_requests"), signatures)
    for name, content in broken.items():
        try:
            serve(image_bytes=tf.constant([content]))
            problems.append(f"{name} gives an answer instead of an error")
        except tf.errors.InvalidArgumentError:
            continue
    return problems, time_single(serve, photos.values())


def peak_memory():
    """Largest resident size in MB. Where the system does not tell it, that of what started this process counts, too."""
    if os.path.isfile("/proc/self/status"):
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(model, photos, result):
    """Probes and writes the result; a model that cannot be loaded or called is a problem, too."""
    good, latency = read_files(photos), None
    try:
        problems, latency = probe(model, good, read_files(os.path.join(photos, "broken")))
    except Exception as error:  # noqa: BLE001, whatever a strange model raises must be told
        problems = [f"it cannot be loaded and called: {type(error).__name__}: {str(error).splitlines()[0]}"]
    found = {"problems": problems, "photos": len(good), "latency_ms": latency, "memory_mb": peak_memory()}
    with open(result, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
