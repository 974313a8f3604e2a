"""Runs written into a real MLMD database as TFX's launchers write them, for tests of what is read from it."""

import json
import time
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.refusal import refusal_file

REFUSED = {"metrics": {"mean_iou": 0.31}, "baseline": None, "slices": {}, "refusals": ["mean_iou is under 0.5"]}
GOOD = {"metrics": {"mean_iou": 0.61, "iou/pet": None}, "baseline": {"mean_iou": 0.6}, "slices": {}, "refusals": []}
_KINDS = {"model": "Model", "blessing": "ModelBlessing", "pushed_model": "PushedModel"}
"""The types that are looked for by name, by the key of an output."""


class Store:
    """Writes runs as TFX's launchers do."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, str(folder / "metadata.db")
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = self.path
        self._store = metadata_store.MetadataStore(config)
        self._types = {
            name: self._store.put_context_type(mlmd.ContextType(name=name))
            for name in ("pipeline", "pipeline_run", "node")
        }
        self._execution = self._store.put_execution_type(mlmd.ExecutionType(name="any"))
        self._artifacts = {
            name: self._store.put_artifact_type(mlmd.ArtifactType(name=name)) for name in {"Any", *_KINDS.values()}
        }

    def _context(self, kind: str, name: str) -> int:
        known = self._store.get_context_by_type_and_name(kind, name)
        if known is not None:
            return known.id
        return self._store.put_contexts([mlmd.Context(type_id=self._types[kind], name=name)])[0]

    def node(
        self,
        run: str,
        name: str,
        state: str,
        pipeline: str = "segpipe",
        parameters: dict[str, str] | None = None,
        inputs: dict[str, str] | None = None,
        **outputs: dict,
    ) -> list[int]:
        """One execution.

        Args:
          run, name, state, pipeline: as TFX has them.
          parameters: what the node was told.
          inputs: key -> URI.
          outputs: key -> the custom properties of its artifact, `uri` apart.

        Returns:
          Ids of the artifacts, inputs first.
        """
        names = {"pipeline": pipeline, "pipeline_run": run, "node": f"{pipeline}.{name}"}
        contexts = [self._context(kind, of) for kind, of in names.items()]
        execution = mlmd.Execution(type_id=self._execution, last_known_state=mlmd.Execution.State.Value(state))
        for key, value in (parameters or {}).items():
            execution.custom_properties[key].string_value = value
        artifacts = []
        for key, uri in (inputs or {}).items():
            artifact = mlmd.Artifact(type_id=self._artifacts["Any"], uri=uri, state=mlmd.Artifact.LIVE)
            event = mlmd.Event(type=mlmd.Event.INPUT, path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)]))
            artifacts.append((artifact, event))
        for key, properties in outputs.items():
            kind = _KINDS.get(key, "Any")
            artifact = mlmd.Artifact(
                type_id=self._artifacts[kind], uri=properties.pop("uri", "none"), state=mlmd.Artifact.LIVE
            )
            for field, value in properties.items():
                kind = {int: "int_value", float: "double_value"}.get(type(value), "string_value")
                setattr(artifact.custom_properties[field], kind, value)
            event = mlmd.Event(type=mlmd.Event.OUTPUT, path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)]))
            artifacts.append((artifact, event))
        _, ids, _ = self._store.put_execution(execution, artifacts, self._store.get_contexts_by_id(contexts))
        return ids

    def anomalies(self, split: str, feature: str, description: str) -> str:
        """What ExampleValidator writes for a split; returns the URI of all splits."""
        message = anomalies_pb2.Anomalies()
        message.anomaly_info[feature].description = description
        folder = self.folder / "anomalies" / f"Split-{split}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SchemaDiff.pb").write_bytes(message.SerializeToString())
        return str(folder.parent)

    def refusal(self, run: str, node: str, reasons: list[str]) -> None:
        """A node that refused, and what it left."""
        self.node(run, node, "FAILED")
        execution = max(stored.id for stored in self._store.get_executions())
        path = Path(refusal_file(str(self.folder / "pipeline_root" / node), execution))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(reasons))


def evaluated(store: Store, run: str, summary: dict, state: str = "COMPLETE") -> None:
    store.node(run, "SegmentationEvaluator", state, evaluation={"summary": json.dumps(summary)})


def pushed(store: Store, run: str, state: str = "COMPLETE", pushed: int = 1, new: int = 1, version: str = "17") -> None:
    store.node(
        run, "AtomicPusher", state, pushed_model={"pushed": pushed, "pushed_version": version, "new_version": new}
    )


def refused(store: Store, run: str, model: Path, live: int = 0) -> None:
    """A run of a model that the gate refused; `live` says that it was served all the same."""
    store.node(run, "SpanExampleGen", "COMPLETE", examples={"uri": str(model / "examples")})
    for node in ("AnomalyGate", "ModelCanary"):
        store.node(run, node, "COMPLETE")
    store.node(run, "Trainer", "COMPLETE", model={"uri": str(model)})
    evaluated(store, run, REFUSED)
    store.node(run, "AtomicPusher", "COMPLETE", pushed_model={"pushed": 0, "live": live})


def blessed_by_hand(store: Store, run: str, model: Path) -> None:
    """What `segpipe bless` adds to a run."""
    # MLMD counts milliseconds, and what was refused before must be older.
    time.sleep(0.01)
    signed = {"reason": "seen [by] eye", "blessed_by": "ana", "pushed_version": 17}
    store.node(run, "HandBlessing", "COMPLETE", blessing={"blessed": 1, "current_model": str(model)} | signed)
