"""What a run will read and where it will write, found and checked before TFX is imported."""

import os
from dataclasses import dataclass

from components.anomaly_gate.comparisons import write_comparisons
from components.errors import UsageError
from components.example_gen.window import WindowSpan, refuse_leaks, write_window
from components.ingest.settings import settings_record
from components.ingest.sources import SPLITS
from components.ingest.spans import MANIFEST, file_sha256, list_spans, read_manifest, span_folder
from pipeline.beam_arguments import check
from pipeline.config import Config
from pipeline.learnt import baseline_spans
from pipeline.schema_file import schema_for
from pipeline.workspace import Workspace
from trainer.pretrained import check_weights

RUN_FN = "trainer.train.run_fn"


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes: what differs between engines.

    Attributes:
      window: path of the window of spans.
      comparisons: path of the list of spans that are compared with the one before them.
      golden: path of the window of the golden span, or None.
      schema: path of the schema, named by its content.
      pipeline_root: folder of artifacts.
      serving: folder of pushed models.
      checkpoints: folder of checkpoints of trainings that are not finished.
    """

    window: str
    comparisons: str
    golden: str | None
    schema: str
    pipeline_root: str
    serving: str
    checkpoints: str


def choose_spans(config: Config, workspace: Workspace, span: int | None, window: int | None) -> list[int]:
    """The spans to train on, ascending; the last one evaluates.

    Args:
      config: says which span is golden, which none of them is.
      workspace: where the spans are.
      span: the last one; None takes the newest.
      window: how many at most; None takes `data.window`.

    Raises:
      UsageError: if there is none, the last one does not exist or is the golden one, one was ingested under other
        settings than the config's, or together they cannot fill a batch.
    """
    golden = config.data.golden_span
    spans = _not_golden(config, workspace)
    if not spans:
        but = f" but the golden {golden}" if list_spans(workspace.data) else ""
        raise UsageError(f"{workspace.data} holds no span{but}; run segpipe ingest --workspace {workspace.root} first")
    newest = spans[-1] if span is None else span
    if newest == golden:
        raise UsageError(f"--span {newest}: is data.golden_span, which no run may train on; choose another span")
    if newest not in spans:
        have = ", ".join(map(str, spans))
        raise UsageError(
            f"--span {newest}: nothing new, that span is not in {workspace.data} (spans there: {have}) and none of "
            f"them takes its place; run segpipe ingest --span {newest} first"
        )
    chosen = [number for number in spans if number <= newest][-(window or config.data.window) :]
    for number in chosen:
        _check_settings(config, workspace, number)
    photos = sum(read_manifest(workspace.data, number).examples("train") for number in chosen)
    if photos < config.training.batch_size:
        what = f"span {newest} holds" if len(chosen) == 1 else f"spans {', '.join(map(str, chosen))} hold"
        raise UsageError(
            f"{what} {photos} training photos, fewer than training.batch_size {config.training.batch_size}; lower the "
            f"batch size or ingest more photos"
        )
    return chosen


def _not_golden(config: Config, workspace: Workspace) -> list[int]:
    return [number for number in list_spans(workspace.data) if number != config.data.golden_span]


def _check_settings(config: Config, workspace: Workspace, number: int) -> None:
    manifest = read_manifest(workspace.data, number)
    for key, value in settings_record(config.data, config.features).items():
        if manifest.settings[key] != value:
            raise UsageError(
                f"span {number} was ingested with {key} {manifest.settings[key]}, the config says {value}; "
                f"ingest again with this config, or run with the one of then"
            )


def _golden_window(config: Config, workspace: Workspace, numbers: list[int]) -> str | None:
    """Writes the window of the golden span, if there is one.

    Raises:
      UsageError: if it does not exist, was ingested under other settings, or holds a photo that the spans train on.
    """
    golden = config.data.golden_span
    if golden is None:
        return None
    mend = "choose a golden span of other photos"
    try:
        _check_settings(config, workspace, golden)
        refuse_leaks(workspace.data, golden, SPLITS, numbers, mend)
    except UsageError as error:
        raise UsageError(f"data.golden_span: {error}") from error
    return write_window(workspace.data, [golden])


def _refuse_known_photos(workspace: Workspace, newest: int, learnt: list[WindowSpan]) -> None:
    """Sees to it that the blessed model, which a run compares with, has learnt no photo that the newest span evaluates.

    Args:
      workspace: where the spans are.
      newest: span that evaluates.
      learnt: spans that the blessed model has learnt from.

    Raises:
      UsageError: if it has, or if nobody can tell because a manifest is gone.
    """
    for span in learnt:
        manifest = os.path.join(span_folder(workspace.data, span.number), MANIFEST)
        if not os.path.isfile(manifest) or file_sha256(manifest) != span.manifest_sha256:
            raise UsageError(
                f"{manifest}: is gone or changed since the blessed model was trained on that span, so nobody can tell "
                f"whether span {newest} evaluates photos that it learnt; restore this file (its shards are not needed)"
            )
        if span.number != newest:
            mend = "ingest again with a split that does not evaluate it"
            try:
                refuse_leaks(workspace.data, newest, ("eval",), [span.number], mend)
            except UsageError as error:
                raise UsageError(f"the blessed model, which a run compares with, was trained on {error}") from error


def plan(
    config: Config,
    workspace: Workspace,
    span: int | None,
    window: int | None = None,
    learnt: list[WindowSpan] | None = None,
) -> Places:
    """Writes the windows, the comparisons and the schema of a run, and says where everything is.

    Args:
      config: everything a user may choose.
      workspace: where to.
      span, window: see `choose_spans`.
      learnt: spans that the blessed model has learnt from; None asks the workspace's own database.

    Raises:
      UsageError: see `choose_spans`, `write_window` and `schema_for`; if a warm start, the blessed model or a golden
        span makes the score flatter; or if the backbone's weights cannot be had.
    """
    try:
        check_weights(config.model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check(config)
    chosen = choose_spans(config, workspace, span, window)
    everything = _not_golden(config, workspace)
    if config.training.warm_start:
        # The blessed model may stem from any of them.
        others = [number for number in everything if number not in chosen]
        mend = "turn training.warm_start off or ingest with another split"
        refuse_leaks(workspace.data, chosen[-1], ("eval",), others, mend)
    _refuse_known_photos(workspace, chosen[-1], baseline_spans(workspace.metadata) if learnt is None else learnt)
    return Places(
        window=write_window(workspace.data, chosen),
        comparisons=write_comparisons(workspace.data, chosen, everything),
        golden=_golden_window(config, workspace, everything if config.training.warm_start else chosen),
        schema=schema_for(config, workspace.schemas, workspace.schema),
        pipeline_root=workspace.pipeline_root,
        serving=workspace.serving,
        checkpoints=workspace.checkpoints,
    )
