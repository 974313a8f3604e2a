"""200 pushes under the eyes of a process that loads the latest version all the while, and never meets a broken one."""

import json
import subprocess
import sys
import time

from drawing import write_brightness_model

from components.pusher.retention import retire
from components.pusher.settings import RetentionSettings
from components.pusher.versions import list_versions, publish
from trainer.features import FeatureSpec

PUSHES = 200
SETTINGS = RetentionSettings(keep=2, grace_seconds=5)

READER = """
import json, os, select, sys, time
import numpy as np, tensorflow as tf
from components.pusher.versions import live_version, origin
serving, grace = sys.argv[1], float(sys.argv[2])
photo = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()
loads, seen, broken = 0, set(), []
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    version, began = live_version(serving), time.monotonic()
    try:
        model = tf.saved_model.load(os.path.join(serving, str(version)))
        answer = model.signatures["serving_default"](image_bytes=tf.constant([photo]))["mask"].numpy()
        if set(answer.ravel().tolist()) != {int(origin(serving, version))}:
            broken.append(f"{version}: answers {set(answer.ravel().tolist())}")
        loads += 1
        seen.add(version)
    except Exception as error:
        # Who takes longer than the grace has no promise.
        if time.monotonic() - began < grace:
            broken.append(f"{version}: {type(error).__name__}: {error}")
print(json.dumps({"loads": loads, "seen": len(seen), "broken": broken[:5]}))
"""


def test_a_reader_of_the_latest_version_never_sees_a_broken_one(tmp_path):
    spec, serving = FeatureSpec(height=32, width=32), str(tmp_path / "serving_model")
    # Black is label 0 for one model and 2 for the other, so that an answer tells whose it is.
    models = {label: str(write_brightness_model(tmp_path / label, spec, inverted=label == "2")) for label in "02"}
    publish(models["0"], serving, "0")
    command = [sys.executable, "-c", READER, serving, str(SETTINGS.grace_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "ready\n"
        retired = []
        for number in range(PUSHES):
            label = "02"[number % 2]
            publish(models[label], serving, label)
            retired += retire(serving, SETTINGS)
            # Long enough in all for versions to get older than the grace.
            time.sleep(0.1)
        output, _ = reader.communicate("stop\n", timeout=900)
    found = json.loads(output)
    assert found["broken"] == []
    assert found["loads"] >= 20 and found["seen"] >= 10, found
    assert len(retired) > PUSHES / 4, "versions went while they were read"
    assert len(list_versions(serving)) == PUSHES + 1 - len(retired)
