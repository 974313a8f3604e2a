"""One run and its nodes, as everything that reports on a run gets them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ml_metadata.proto import metadata_store_pb2

from pipeline.blessings import Blessing
from pipeline.rollbacks import RecordedRollback


@dataclass
class NodeRecord:
    """One node of a run.

    Attributes:
      state: running, complete, cached, failed or canceled.
      parameters: what it was told beside its inputs.
      inputs, outputs: artifacts by key.
    """

    pipeline: str
    name: str
    execution_id: int
    state: str
    seconds: float
    parameters: Mapping[str, metadata_store_pb2.Value] = field(default_factory=dict)
    inputs: dict[str, list[metadata_store_pb2.Artifact]] = field(default_factory=dict)
    outputs: dict[str, list[metadata_store_pb2.Artifact]] = field(default_factory=dict)

    def output(self, key: str) -> metadata_store_pb2.Artifact | None:
        return next(iter(self.outputs.get(key, [])), None)


@dataclass
class RunRecord:
    """One run, its nodes in the order of their start.

    Attributes:
      run_id: TFX's id of the run.
      started: seconds since 1970.
      nodes: by name.
      window: path of the list of spans it ran on, or None if it did not get there.
      spans: their numbers, ascending; all of them trained and the last one evaluated.
      verdict: running, interrupted, failed, refused, pushed (a new version), unchanged (it was live already), blessed
        (by hand after the gate refused it) or tuned.
      reasons: sentences, why it was refused or what failed.
      summary: the Evaluator's `summary`, or None if it did not get there.
      golden: `span`, `metrics`, `intervals` and more of the model on the golden span, or None without one.
      version: the version of the pushed model, or None.
      blessing: who blessed its model by hand, and why; or None.
      rollback: the last rollback that left its model or returned to it, or None.
    """

    run_id: str
    started: float
    nodes: dict[str, NodeRecord]
    window: str | None = None
    spans: list[int] = field(default_factory=list)
    verdict: str = "running"
    reasons: list[str] = field(default_factory=list)
    summary: dict | None = None
    golden: dict | None = None
    version: int | None = None
    blessing: Blessing | None = None
    rollback: RecordedRollback | None = None

    def output(self, node: str, key: str) -> metadata_store_pb2.Artifact | None:
        """An output artifact of a node that finished, or None."""
        record = self.nodes.get(node)
        return record.output(key) if record is not None and record.state in ("complete", "cached") else None


def run_summary(run: RunRecord) -> dict:
    """The run as plain JSON: for `status --json` and `report.json`."""
    summary = run.summary or {}
    return {
        "run_id": run.run_id,
        "started": run.started,
        "spans": run.spans,
        "verdict": run.verdict,
        "reasons": run.reasons,
        "version": run.version,
        "blessing": None if run.blessing is None else asdict(run.blessing),
        "rollback": None if run.rollback is None else run.rollback.model_dump(),
        "lost_baseline": summary.get("lost_baseline"),
        "metrics": summary.get("metrics"),
        "baseline": summary.get("baseline"),
        "slices": summary.get("slices"),
        "intervals": summary.get("intervals"),
        "slice_intervals": summary.get("slice_intervals"),
        "golden": run.golden,
        "nodes": {node.name: {"state": node.state, "seconds": node.seconds} for node in run.nodes.values()},
    }
