"""The image: its build steps are executed in a Debian 13, and what comes out runs a pipeline without rights."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from workbench import OPEN_GATE, TINY

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import audit  # noqa: E402
from debian_root import CACHE  # noqa: E402
from image_build import Builder, read_dockerfile  # noqa: E402

from pipeline.kubeflow_step import source_fingerprint  # noqa: E402

DEBIAN = "SEGPIPE_DEBIAN"
DOCKERFILE = REPOSITORY / "Dockerfile"
REQUIREMENTS = REPOSITORY / "requirements"
LOCKS = {"cpu": "image-1.21.txt", "gpu": "image-gpu-1.21.txt"}
# What TensorFlow opens as soon as there is a GPU, in the folders beside its own where it looks for it.
GPU_LIBRARIES = ["cublas", "cublasLt", "cudart", "cudnn", "cufft", "cupti", "cusolver", "cusparse", "nccl"]
LOAD = """
import ctypes, glob, sys, sysconfig
for name in sys.argv[1:]:
    (found,) = glob.glob(f"{sysconfig.get_path('purelib')}/nvidia/*/lib/lib{name}.so.*")
    ctypes.CDLL(found)
"""
needs_debian = pytest.mark.skipif(
    DEBIAN not in os.environ, reason="needs a Debian 13 root, which make test-next makes and hands in"
)


@pytest.fixture(scope="module")
def builder():
    """Its files go afterwards."""
    folder = CACHE / "image"
    yield Builder({"debian:trixie-slim": Path(os.environ[DEBIAN])}, REPOSITORY, folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=LOCKS)
def target(request):
    return request.param


@pytest.fixture(scope="module")
def image(builder, target):
    """The built target."""
    return builder.build(target)


def output_of(image, *command: str, binds=()) -> str:
    done = subprocess.run(image.start(list(command), binds), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@needs_debian
def test_it_holds_just_the_locked_packages_and_no_tools(image, target):
    listing = "import importlib.metadata as m; print(*{d.name.lower() + '==' + d.version for d in m.distributions()})"
    found = dict(pin.split("==") for pin in output_of(image, "python", "-c", listing).split())
    found = {re.sub(r"[-_.]+", "-", name): version for name, version in found.items()}
    assert found.pop("segpipe") == "0.1.0"
    assert found == audit.locked(REQUIREMENTS / LOCKS[target])
    assert "pytest" not in found
    for tool in ("g++", "git", "pip", "uv"):
        with pytest.raises(AssertionError):
            output_of(image, "sh", "-c", f"command -v {tool}")


@needs_debian
def test_it_runs_on_python_3_13_as_a_user_who_may_change_nothing_in_it(image):
    assert output_of(image, *image.command).startswith("Usage: segpipe")
    told = output_of(
        image, "python", "-c", "import os, sys; print(*sys.version_info[:2], os.getuid(), os.environ['HOME'])"
    )
    assert told.split() == ["3", "13", "10001", "/home/segpipe"]
    with pytest.raises(AssertionError, match="Permission denied"):
        output_of(image, "touch", "/opt/segpipe/lib/python3.13/site-packages/pipeline/cli.py")


@needs_debian
def test_its_source_is_the_one_that_a_pipeline_is_compiled_from(image):
    command = "from pipeline.kubeflow_step import source_fingerprint; print(source_fingerprint())"
    assert output_of(image, "python", "-c", command).strip() == source_fingerprint()
    assert "--node" in output_of(image, "python", "-m", "pipeline.kubeflow_step", "node", "--help")


@needs_debian
def test_tensorflow_finds_the_gpu_s_libraries_in_the_target_that_holds_them(image, target):
    """Without a GPU and its driver TensorFlow loads only the CUDA runtime, and says so where that is missing."""
    command = image.start(["python", "-c", "import tensorflow as tf; tf.config.list_physical_devices()"])
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert ("Could not find cuda drivers" in said) == (target == "cpu")
    if target == "gpu":
        output_of(image, "python", "-c", LOAD, *GPU_LIBRARIES)


@needs_debian
def test_a_pipeline_runs_in_it_up_to_a_pushed_model(image, tmp_path):
    # A folder that its user may write to, as a volume is.
    folder = tmp_path / "volume"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(TINY | {"gate": OPEN_GATE}))
    os.chown(folder, 10001, 10001)
    drawn, common = folder / "drawn", ["--workspace", f"{folder}/workspace", "--config", f"{folder}/config.yaml"]
    output_of(image, "segpipe", "draw", "--photos", "32", "--output", str(drawn), binds=[folder])
    output_of(
        image, "segpipe", "ingest", "--images", f"{drawn}/images", "--masks", f"{drawn}/annotations/trimaps",
        "--split-lists", f"{drawn}/annotations", *common, binds=[folder],
    )  # fmt: skip
    output_of(image, "segpipe", "run", *common, binds=[folder])
    status = json.loads(output_of(image, "segpipe", "status", "--json", *common[:2], binds=[folder]))
    assert status["runs"][-1]["verdict"] == "pushed"


def test_both_targets_end_without_rights_and_differ_in_their_packages_alone():
    stages = read_dockerfile(DOCKERFILE.read_text())
    assert list(stages)[-1] == "cpu" and stages["cpu"].base == stages["gpu"].base
    told = [[step for step in stages[name].steps if step[0] != "COPY"] for name in ("cpu", "gpu")]
    assert told[0] == told[1]
    manifests = yaml.safe_load_all((REPOSITORY / "deploy" / "kubernetes" / "schedule.yaml").read_text())
    (pod,) = [m["spec"]["jobTemplate"]["spec"]["template"]["spec"] for m in manifests if m["kind"] == "CronJob"]
    user = pod["securityContext"]["runAsUser"]
    assert ("USER", f"{user}:{user}") in told[0]


@pytest.mark.parametrize("name", LOCKS.values())
def test_what_the_image_holds_is_what_the_suite_runs_on(name):
    tested, pins = audit.locked(REQUIREMENTS / "tfx-1.21.txt"), audit.locked(REQUIREMENTS / name)
    assert {package for package, version in pins.items() if tested.get(package, version) != version} == set()
    beside = pins.keys() - tested.keys()
    assert all(package.startswith("nvidia-") for package in beside), beside
    assert ("gpu" in name) == bool(beside)


@pytest.mark.parametrize(
    "wrong, why",
    [
        ("HEALTHCHECK CMD true", "HEALTHCHECK is not implemented"),
        ("RUN --mount=type=cache,target=/root true", "an option of RUN"),
        ("COPY --chown=1:1 a b", "an option of COPY"),
        ("ENV A=$B", "variables are implemented in RUN alone"),
        ("FROM debian:trixie-slim", "only FROM IMAGE AS NAME"),
    ],
)
def test_what_the_builder_does_not_implement_is_refused(wrong, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        read_dockerfile(f"FROM debian:trixie-slim AS one\n{wrong}\n")
