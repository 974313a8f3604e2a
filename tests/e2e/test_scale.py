"""The installed sdist, outside of the repository: Beam on a portable runner, training in two processes."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from beam_cluster import cluster
from workbench import BIN, NODES, Bench, copy_source, drawn, executed

pytestmark = pytest.mark.e2e

UNPICKLE = textwrap.dedent(
    """
    import json, sys
    from apache_beam.internal import pickler
    from apache_beam.portability.api import beam_runner_api_pb2 as api
    from google.protobuf.wrappers_pb2 import BytesValue
    import components, pipeline, trainer

    assert all(m.__file__.startswith(sys.argv[1]) for m in (components, pipeline, trainer)), "not the installed ones"
    found = []
    for path in sys.argv[2:]:
        with open(path, "rb") as file:
            proto = api.Pipeline.FromString(file.read())
        names = []
        for transform in proto.components.transforms.values():
            kind, payload = transform.spec.urn, transform.spec.payload
            if kind == "beam:transform:pardo:v1":
                function = api.ParDoPayload.FromString(payload).do_fn
                pickled = function.payload
            elif kind.startswith("beam:transform:combine"):
                function = api.CombinePayload.FromString(payload).combine_fn
                pickled = BytesValue.FromString(function.payload).value
            else:
                continue
            if "pickled_python" in function.urn:
                loaded = pickler.loads(pickled)
                names.append(loaded[0] if isinstance(loaded, tuple) else loaded)
        found.append([f"{type(name).__module__}.{type(name).__name__}" for name in names])
    print(json.dumps(found))
    """
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The sdist, built from a copy of this source and installed into an empty folder."""
    folder = tmp_path_factory.mktemp("sdist")
    source = copy_source(folder / "source")
    subprocess.run([sys.executable, "setup.py", "--quiet", "sdist"], cwd=source, check=True, capture_output=True)
    (sdist,) = (source / "dist").glob("segpipe-*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", folder / "site"]
    subprocess.run([*pip, *options, sdist], check=True, capture_output=True)
    return folder / "site"


@pytest.fixture(scope="module")
def environment(site, tmp_path_factory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(site)}


@pytest.fixture(scope="module")
def ran(site, environment, tmp_path_factory):
    """The workspace, the record of its run, and the pipelines that Beam's job service was given."""
    folder = tmp_path_factory.mktemp("portable")
    with cluster(folder, environment) as found:
        together = {"steps": 4, "batch_size": 8, "evaluations": 1, "strategy": "multi_worker"}
        bench = Bench(folder, {"beam": {"default": found.section}, "training": together}, source=site)
        bench.ingest(drawn(folder / "drawn"))
        run = bench.run()
        yield bench, run, found.pipelines()


def test_a_run_of_the_installed_sdist_on_a_portable_runner_pushes(ran):
    bench, run, pipelines = ran
    assert (executed(run), run["verdict"]) == (NODES, "pushed")
    assert bench.versions() == [str(run["version"])]
    assert {state for state, _ in pipelines} == {"DONE"}


def test_no_record_is_lost_on_the_way_to_the_workers_and_back(ran):
    bench, _, _ = ran
    from pipeline.records import newest_run

    run = newest_run(str(bench.workspace / "metadata.db"))
    counts = json.loads(run.output("Conservation", "blessing").custom_properties["counts"].string_value)
    train, evaluated = (set(counts[split].values()) for split in ("train", "eval"))
    assert (len(train), len(evaluated), sum(train | evaluated)) == (1, 1, 32)


def test_every_function_of_every_pipeline_unpickles_where_only_the_sdist_is(ran, site, environment, tmp_path):
    _, _, pipelines = ran
    for number, (_, proto) in enumerate(pipelines):
        (tmp_path / f"{number}.pb").write_bytes(proto)
    paths = [tmp_path / f"{number}.pb" for number in range(len(pipelines))]
    command = [sys.executable, "-c", UNPICKLE, site, *paths]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    functions = json.loads(done.stdout.splitlines()[-1])
    assert all(functions)
    ours = {name for names in functions for name in names if name.split(".")[0] in ("components", "trainer")}
    assert ours >= {"components.ingest.beam_shards.WriteShard"}


def test_the_model_was_trained_by_two_processes(ran):
    bench, run, _ = ran
    (log,) = bench.workspace.glob("logs/run-*.log")
    text = log.read_text(errors="replace")
    assert all(f"process {number} of 2 that train together" in text for number in (1, 2))
    (description,) = bench.serving.glob("*/assets.extra/segpipe.json")
    assert json.loads(description.read_text())["run_id"] == run["run_id"]
    assert not os.listdir(bench.workspace / "checkpoints")
