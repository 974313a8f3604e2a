"""`segpipe schema accept`: takes what refused a run into the schema, once a person has seen the change."""

import difflib
import json
import os
import time
from dataclasses import dataclass

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import RefusedError, SegpipeError, UsageError
from pipeline.blessings import login_name
from pipeline.config import Config
from pipeline.records import runs_of
from pipeline.report import find_run
from pipeline.run_record import RunRecord
from pipeline.schema_file import current_schema, read_schema, schema_source
from pipeline.workspace import Workspace
from trainer.features import BRIGHTNESS, CLASS_SHARE, FILENAME, IMAGE, MASK

_FIXED = (IMAGE, MASK, FILENAME, BRIGHTNESS)
_TITLE = "# The schema of this workspace, in place of the curated one. segpipe schema accept made it and changes it.\n"


@dataclass(frozen=True)
class Review:
    """What accepting a refused run would change.

    Attributes:
      run_id: the run.
      path: the file that would be written.
      diff: lines of a unified diff of it, none where the schema stays.
      text: what would be in it.
      drifted: pairs of spans, each with a sentence per feature that drifted.
    """

    run_id: str
    path: str
    diff: list[str]
    text: str
    drifted: list[tuple]


def review(config: Config, workspace: Workspace, name: str) -> Review:
    """Finds out what a refused run would need.

    Args:
      config: whose schema; that of the run.
      workspace: where the run is.
      name: id of the run, or `latest`.

    Raises:
      UsageError: if there is no such run, AnomalyGate did not refuse it, or another schema is in use by now.
      RefusedError: if it found what no schema may allow.
    """
    run = find_run(workspace, name, runs_of(workspace))
    gate = run.nodes.get("AnomalyGate")
    if run.verdict != "refused" or gate is None or gate.state != "failed":
        raise UsageError(f"run {run.run_id} is {run.verdict}, and not for its data; there is nothing to accept")
    schema = current_schema(config, workspace.schema)
    if schema != read_schema(os.path.join(_folder(run, "ImportSchemaGen", "schema"), "schema.pbtxt")):
        source = schema_source(config, workspace.schema)
        raise UsageError(
            f"{source}: is not the schema of run {run.run_id}; run segpipe run again, then accept that run, or name "
            f"its --config"
        )
    accepted, strange = _updated(schema, run)
    source, path = schema_source(config, workspace.schema), config.schema_file or workspace.schema
    before, title = text_format.MessageToString(schema), _TITLE
    if source == path:
        with open(path, encoding="utf-8") as file:
            before = file.read()
        title = _title(before)
    text = title + text_format.MessageToString(accepted) if accepted != schema else before
    diff = difflib.unified_diff(before.splitlines(), text.splitlines(), source, path, lineterm="")
    return Review(
        run.run_id, path, list(diff), text, _drifted(gate.parameters["comparisons"].string_value, schema, strange)
    )


def accept(workspace: Workspace, reviewed: Review) -> None:
    """Writes the schema, and records which spans may differ, as the only writer of the workspace."""
    from components.anomaly_gate.comparisons import ACCEPTED, Acceptance, read_acceptances
    from components.ingest.spans import write_record

    with workspace.writer("schema accept"):
        if reviewed.diff:
            _replace(reviewed.path, lambda part: _write(part, reviewed.text))
        if reviewed.drifted:
            kept = read_acceptances(workspace.data)
            for pair, sentences in reviewed.drifted:
                kept.accepted.append(Acceptance(pair=pair, drifted=sentences, by=login_name(), at=time.time()))
            _replace(os.path.join(workspace.data, ACCEPTED), lambda part: write_record(part, kept))


def _updated(schema: schema_pb2.Schema, run: RunRecord) -> tuple[schema_pb2.Schema, set[str]]:
    """The schema that allows what was found in every split, and the features that did not fit."""
    import tensorflow_data_validation as tfdv

    folder = _folder(run, "StatisticsGen", "statistics")
    splits = json.loads(run.output("StatisticsGen", "statistics").properties["split_names"].string_value)
    found = [tfdv.load_stats_binary(os.path.join(folder, f"Split-{split}", "FeatureStats.pb")) for split in splits]
    strange = {name for split in found for name in tfdv.validate_statistics(split, schema).anomaly_info}
    try:
        return allow(schema, found), strange
    except RefusedError as error:
        why = "; ".join(run.reasons)
        raise RefusedError(f"run {run.run_id} cannot be accepted, {error} ({why}); mend the data and ingest") from error


def allow(schema: schema_pb2.Schema, statistics: list) -> schema_pb2.Schema:
    """The schema with wider ranges of values, so that statistics fit.

    Args:
      schema: what they did not fit.
      statistics: a `DatasetFeatureStatisticsList` per split.

    Raises:
      RefusedError: if more than a range would have to change, or one of what segpipe computes itself.
    """
    import tensorflow_data_validation as tfdv

    accepted = schema
    for split in statistics:
        accepted = tfdv.update_schema(accepted, split)
    changed = {feature.name: feature for feature in accepted.feature}
    for feature in schema.feature:
        if feature.name not in changed or _frame(changed[feature.name]) != _frame(feature):
            raise RefusedError(f"segpipe relies on {feature.name} as it is in the schema")
    left = [name for split in statistics for name in tfdv.validate_statistics(split, accepted).anomaly_info]
    if left:
        raise RefusedError(f"no schema can allow {', '.join(left)} as it is")
    return accepted


def _frame(feature: schema_pb2.Feature) -> schema_pb2.Feature:
    """What of a feature may not change: all of what segpipe computes itself, all but the range of values of others."""
    frame = schema_pb2.Feature()
    frame.CopyFrom(feature)
    domain = frame.WhichOneof("domain_info")
    if domain is not None and feature.name not in _FIXED and not feature.name.startswith(CLASS_SHARE):
        frame.ClearField(domain)
    return frame


def _drifted(comparisons: str, schema: schema_pb2.Schema, strange: set[str]) -> list[tuple]:
    from components.anomaly_gate.comparisons import read_comparisons
    from components.anomaly_gate.drift import measure_drift

    found = []
    for pair in read_comparisons(comparisons):
        sentences = [str(drift) for drift in measure_drift([pair], schema, strange) if drift.too_far]
        found += [(pair, sentences)] if sentences else []
    return found


def _folder(run: RunRecord, node: str, key: str) -> str:
    artifact = run.output(node, key)
    if artifact is None or not os.path.isdir(artifact.uri):
        raise SegpipeError(
            f"run {run.run_id}: the {key} of {node} is gone; run segpipe run again, then accept that run"
        )
    return artifact.uri


def _title(text: str) -> str:
    """The comment that a schema file begins with."""
    lines = text.splitlines(keepends=True)
    count = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:count])


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _replace(path: str, write) -> None:
    """Writes beside, then renames, so that a reader sees the old file or the new one."""
    write(path + ".part")
    os.replace(path + ".part", path)
