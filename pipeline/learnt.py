"""Which spans the blessed model has learnt from, by its lineage in MLMD; light enough to be asked before a run."""

import os
from collections.abc import Iterator

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.example_gen.window import Window, WindowSpan
from components.ingest.spans import read_record
from pipeline.lineage import baseline
from pipeline.metadata_file import snapshot

_Event = metadata_store_pb2.Event


def baseline_spans(metadata: str) -> list[WindowSpan]:
    """The spans that trained the model which the next run compares with.

    A model that was blessed by hand counts like any other, and a warm start learns also what its base model learnt.

    Args:
      metadata: path of the SQLite database; a missing one knows no model.

    Returns:
      Each span once, as it was when it trained; empty without a baseline, or if its files are gone.
    """
    if not os.path.isfile(metadata) or not os.path.getsize(metadata):
        return []
    with snapshot(metadata) as store:
        return learnt_spans(store)


def learnt_spans(store: metadata_store.MetadataStore) -> list[WindowSpan]:
    """As `baseline_spans`, for a database that is open."""
    model = baseline(store)
    if model is None or not os.path.isdir(model.uri):
        return []
    windows = set(_windows(store, model, set()))
    spans = [span for window in sorted(windows) for span in read_record(window, Window).spans]
    return list({(span.number, span.manifest_sha256): span for span in spans}.values())


def _windows(store: metadata_store.MetadataStore, model: metadata_store_pb2.Artifact, seen: set[str]) -> Iterator[str]:
    """Paths of the windows that a model and those before it in a chain of warm starts were trained on."""
    if model.uri in seen:
        return
    seen.add(model.uri)
    # `segpipe bless` records a model anew under the same URI, and so does `segpipe infer`; only a Trainer taught it.
    same = [artifact.id for artifact in store.get_artifacts_by_uri(model.uri)]
    makers = {event.execution_id for event in store.get_events_by_artifact_ids(same) if event.type == _Event.OUTPUT}
    for trainer in (execution for execution in makers if _node(store, execution) == "Trainer"):
        for event in store.get_events_by_execution_ids([trainer]):
            if event.type == _Event.INPUT and event.path.steps and event.path.steps[0].key == "base_model":
                (base,) = store.get_artifacts_by_id([event.artifact_id])
                yield from _windows(store, base, seen)
        (run,) = [c for c in store.get_contexts_by_execution(trainer) if c.type == "pipeline_run"]
        for execution in store.get_executions_by_context(run.id):
            if _node(store, execution.id) == "SpanExampleGen":
                yield execution.custom_properties["window"].string_value


def _node(store: metadata_store.MetadataStore, execution: int) -> str:
    names = [context.name for context in store.get_contexts_by_execution(execution) if context.type == "node"]
    return names[0].rpartition(".")[2] if names else ""
