"""The pipeline for Kubeflow with its root in a bucket: each step's process has but its own copy of what it reads."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from kubeflow_backend import Backend
from mariadb import mariadb, needs_mariadb
from s3_service import BUCKET, KEY, s3_service
from workbench import NODES, OPEN_GATE, TINY, drawn

from pipeline.cli import main

pytestmark = [pytest.mark.e2e, needs_mariadb]

ROOT = f"s3://{BUCKET}/segpipe"
LOOKED_UP = {"LatestBlessedModel", "SegmentationEvaluator", "Conservation", "AtomicPusher"}


def segpipe(*arguments, status: int = 0) -> Result:
    """The command line on the bucket."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--workspace", ROOT])
    assert done.exit_code == status, f"{done.output}\n{done.exception}"
    return done


@pytest.fixture(scope="module")
def s3():
    with s3_service() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mariadb(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture(scope="module")
def machine(tmp_path_factory, s3, server):
    """A person's machine: a folder, and variables that lead to the bucket and to ML Metadata."""
    folder = tmp_path_factory.mktemp("machine")
    told = s3.environment | {
        "SEGPIPE_COPIES": str(folder / "copies"),
        "SEGPIPE_METADATA": f"mysql://{server.user}@127.0.0.1:{server.port}/segpipe",
        "SEGPIPE_METADATA_PASSWORD": server.password,
    }
    kubeflow = {
        "python": sys.executable,
        "root": ROOT,
        "s3": {"endpoint": s3.url, "region": "us-east-1", "credentials": "segpipe-s3"},
        "metadata": {"host": "127.0.0.1", "port": server.port},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(TINY | {"gate": OPEN_GATE, "kubeflow": kubeflow}))
    drawn(folder / "drawn")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(scope="module")
def span(machine, s3) -> list[str]:
    """Keys of a span that is ingested into the bucket."""
    dataset, config = machine / "drawn", machine / "config.yaml"
    folders = ("--images", dataset / "images", "--masks", dataset / "annotations" / "trimaps")
    segpipe("ingest", *folders, "--split-lists", dataset / "annotations", "--config", config)
    return s3.keys("segpipe/data/span-1/")


@pytest.fixture(scope="module")
def backend(machine, server, warm):
    path = machine / "pipeline.yaml"
    command = ["compile", "--engine", "kubeflow", "--output", str(path), "--config", str(machine / "config.yaml")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    secrets = {("segpipe-metadata", "password"): server.password}
    secrets |= {("segpipe-s3", name): value for name, value in KEY.items()}
    copies = {"SEGPIPE_COPIES": os.environ["SEGPIPE_COPIES"]}
    return Backend(path, machine / "steps", secrets, warm, copies)


@pytest.fixture(scope="module")
def first(backend, span):
    """A whole run."""
    return backend.run()


@pytest.fixture(scope="module")
def second(backend, first):
    """The same again."""
    return backend.run()


def told_of(run) -> tuple[dict, int]:
    """What `segpipe status` says of a run, and the version that is live."""
    told = json.loads(segpipe("status", "--json").stdout)
    return next(one for one in told["runs"] if one["run_id"] == run.run_id), told["live_version"]


def test_ingest_leaves_a_span_in_the_bucket(span, s3):
    manifest = json.loads(s3.read("segpipe/data/span-1/manifest.json"))
    shards = {shard["name"] for split in manifest["splits"].values() for shard in split}
    assert shards and {f"segpipe/data/span-1/{shard}" for shard in shards} < set(span)


def test_a_run_on_an_empty_bucket_ends_pushed(first):
    assert first.status == 0, first.said()
    told, live = told_of(first)
    assert (told["verdict"], told["version"], set(told["nodes"])) == ("pushed", live, NODES)


def test_the_model_in_the_bucket_answers(first, machine, s3, tmp_path):
    import tensorflow as tf

    _, live = told_of(first)
    for key in s3.keys(f"segpipe/serving_model/{live}/"):
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.read(key))
    model = tf.saved_model.load(str(tmp_path / "segpipe" / "serving_model" / str(live)))
    photo = next((machine / "drawn" / "images").glob("*.jpg")).read_bytes()
    answer = model.signatures["serving_default"](image_bytes=tf.constant([photo]))
    assert answer["mask"].shape == (1, 32, 32)


def test_the_exit_handler_leaves_the_report_in_the_bucket(first, s3):
    page = s3.read(f"segpipe/reports/{first.run_id}/report.html").decode()
    told = json.loads(s3.read(f"segpipe/reports/{first.run_id}/report.json"))
    assert "<h1>Pushed as version" in page
    assert told["evaluation"]["ranking"], "the pictures too are made of what is in the bucket"


def test_a_second_run_takes_from_the_bucket_what_the_first_made(second, first):
    assert second.status == 0, second.said()
    told, _ = told_of(second)
    assert told["verdict"] in ("unchanged", "pushed")
    done = {name for name, node in told["nodes"].items() if node["state"] != "cached"}
    assert done <= LOOKED_UP, "nothing is made twice"


def test_the_report_of_a_run_is_made_again(second):
    page = segpipe("report", second.run_id).stdout.strip()
    assert page.endswith(f"/s3/{BUCKET}/segpipe/reports/{second.run_id}/report.html") and os.path.isfile(page)


def test_a_rollback_goes_live_in_the_bucket(second, s3):
    _, live = told_of(second)
    # A model from elsewhere goes live.
    for key in s3.keys(f"segpipe/serving_model/{live}/"):
        content = s3.read(key)
        if key.endswith("/pushed.json"):
            content = json.dumps(json.loads(content) | {"origin": "/elsewhere"}).encode()
        other = key.replace(f"/{live}/", f"/{live + 1}/")
        s3.client().put_object(Bucket=BUCKET, Key=other, Body=content)
    assert told_of(second)[1] == live + 1
    done = json.loads(segpipe("rollback", "--reason", "collars", "--json").stdout)
    assert (done["left"], done["returned_to"]) == (live + 1, live)
    files = [key.split("/", 3)[3] for key in s3.keys(f"segpipe/serving_model/{done['version']}/")]
    assert files == [key.split("/", 3)[3] for key in s3.keys(f"segpipe/serving_model/{live}/")]
    assert told_of(second)[1] == done["version"]


def test_commands_of_one_machine_refuse_a_bucket(machine):
    told = segpipe("gc", status=2).output
    assert f"--workspace {ROOT}: this command needs a folder; ingest, status, report, diff and rollback" in told


def test_the_credentials_are_in_no_file(second, machine, s3):
    secret = KEY["AWS_SECRET_ACCESS_KEY"].encode()
    files = [path for path in Path(machine).rglob("*") if path.is_file()]
    assert [path for path in files if secret in path.read_bytes()] == []
    assert [key for key in s3.keys("") if secret in s3.read(key)] == []
