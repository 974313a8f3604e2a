"""Nodes whose root is in a bucket, each launched from a copy of its own."""

import os
from pathlib import Path

import pytest
from metadata_service import metadata_service
from ml_metadata.proto import metadata_store_pb2
from s3_service import BUCKET, s3_service
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.errors import RefusedError, SegpipeError
from components.example_gen.component import SpanExampleGen
from components.example_gen.window import write_window
from components.ingest.spans import Manifest, Shard, file_sha256, write_record
from components.refusal import refuse
from pipeline.bucket_launch import launcher_for
from pipeline.bucket_root import COPIES, open_root
from pipeline.node_launch import launch_node
from pipeline.remote_metadata import connect, connection

ROOT = f"s3://{BUCKET}/segpipe"
ASKED = []
"""What the executors below were asked, in order."""


@component
def Counts(examples: InputArtifact[standard_artifacts.Examples], counted: OutputArtifact[standard_artifacts.Model]):
    ASKED.append("counts")
    sizes = sorted(path.stat().st_size for path in Path(examples.uri).rglob("*.tfrecord"))
    Path(counted.uri, "sizes").write_text(str(sizes))


@component
def Refuses(blessing: OutputArtifact[standard_artifacts.ModelBlessing]):
    ASKED.append("refuses")
    refuse(blessing.uri, ["too dark"])


@component
def Trains(checkpoints: Parameter[str], model: OutputArtifact[standard_artifacts.Model]):
    kept = Path(checkpoints, "half.npz")
    ASKED.append("goes on" if kept.exists() else "begins")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("half way")
    raise RuntimeError("the machine went away")


@pytest.fixture
def s3(monkeypatch, tmp_path):
    ASKED.clear()
    with s3_service() as running:
        for name, value in (running.environment | {COPIES: str(tmp_path / "copies")}).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def launch(tmp_path, s3):
    """Launches a node of a pipeline as a step does: with an empty copy, and what it left is stored."""
    with metadata_service(str(tmp_path / "metadata.db")) as address:

        def step(node: str, made_of, run: str = "run-7") -> list[str]:
            with open_root(ROOT, address) as workspace:
                nodes = made_of(workspace)
                whole = Pipeline("own", pipeline_root=workspace.pipeline_root, components=nodes, enable_cache=True)
                launch_node(Compiler().compile(whole), node, run, connection(address), launcher_for(workspace))
            return states()

        def states() -> list[str]:
            executions = sorted(connect(address).get_executions(), key=lambda execution: execution.id)
            return [metadata_store_pb2.Execution.State.Name(one.last_known_state) for one in executions]

        step.states = states
        yield step


@pytest.fixture
def window(s3) -> str:
    """A span of two shards in the bucket; the path of its window."""
    with open_root(ROOT) as workspace:
        folder = Path(workspace.data, "span-1")
        folder.mkdir(parents=True)
        splits = {}
        for split, size in (("train", 300), ("eval", 200)):
            path = folder / f"{split}-00000-of-00001.tfrecord"
            path.write_bytes(os.urandom(size))
            splits[split] = [Shard(name=path.name, examples=1, bytes=size, sha256=file_sha256(str(path)))]
        empty = {"settings": {}, "photos_found": 2, "quarantined": {}, "files_ignored": 0, "sources": []}
        write_record(str(folder / "manifest.json"), Manifest(span=1, tool_version="1.0", splits=splits, **empty))
        return write_window(workspace.data, [1])


def counting(window: str):
    def nodes(_) -> list:
        generator = SpanExampleGen(window, "source")
        return [generator, Counts(examples=generator.outputs["examples"])]

    return nodes


def test_a_node_reads_from_the_bucket_what_the_one_before_has_made(launch, window, s3):
    assert launch("SpanExampleGen", counting(window)) == ["COMPLETE"]
    assert launch("Counts", counting(window)) == ["COMPLETE", "COMPLETE"]
    assert s3.read("segpipe/pipeline_root/Counts/counted/2/sizes") == b"[200, 300]"


def test_the_next_run_takes_from_the_bucket_what_is_there_and_makes_what_is_gone(launch, window, s3):
    for node in ("SpanExampleGen", "Counts"):
        launch(node, counting(window))
    again = [launch(node, counting(window), "run-8") for node in ("SpanExampleGen", "Counts")][-1]
    assert (again[2:], ASKED) == (["CACHED", "CACHED"], ["counts"])
    s3.client().delete_object(Bucket=BUCKET, Key="segpipe/pipeline_root/Counts/counted/2/sizes")
    again = [launch(node, counting(window), "run-9") for node in ("SpanExampleGen", "Counts")][-1]
    assert (again[4:], ASKED) == (["CACHED", "COMPLETE"], ["counts", "counts"])
    assert s3.read("segpipe/pipeline_root/Counts/counted/6/sizes") == b"[200, 300]"


def test_a_node_whose_outputs_cannot_be_stored_is_not_complete(launch, window, monkeypatch):
    def full(self, path: str, key: str) -> None:
        raise SegpipeError("no space")

    with monkeypatch.context() as patch, pytest.raises(SegpipeError, match="no space"):
        patch.setattr("pipeline.buckets.S3Bucket.upload", full)
        launch("SpanExampleGen", counting(window))
    assert launch.states() == ["RUNNING"]
    assert launch("SpanExampleGen", counting(window)) == ["COMPLETE"], "the same, tried again"


def test_a_refusal_is_known_to_the_next_try(launch):
    for _ in range(2):
        with pytest.raises(RefusedError, match="^too dark$"):
            launch("Refuses", lambda _: [Refuses()])
    assert ASKED == ["refuses"]


def test_a_training_that_is_tried_again_finds_its_checkpoint(launch):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the machine went away"):
            launch("Trainer", lambda workspace: [Trains(checkpoints=workspace.checkpoints).with_id("Trainer")])
    assert ASKED == ["begins", "goes on"]
