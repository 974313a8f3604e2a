"""What a run will read and where it will write, found and checked before TFX is imported."""

from dataclasses import dataclass

from components.errors import UsageError
from components.example_gen.window import refuse_leaks, write_window
from components.ingest.settings import settings_record
from components.ingest.sources import SPLITS
from components.ingest.spans import list_spans, read_manifest
from pipeline.beam_arguments import check
from pipeline.config import Config
from pipeline.schema_file import schema_for
from pipeline.workspace import Workspace
from trainer.pretrained import check_weights

RUN_FN = "trainer.train.run_fn"


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes: what differs between engines.

    Attributes:
      window: path of the window of spans.
      golden: path of the window of the golden span, or None.
      schema: path of the schema, named by its content.
      pipeline_root: folder of artifacts.
      serving: folder of pushed models.
      checkpoints: folder of checkpoints of trainings that are not finished.
    """

    window: str
    golden: str | None
    schema: str
    pipeline_root: str
    serving: str
    checkpoints: str


def choose_span(config: Config, workspace: Workspace, span: int | None) -> int:
    """The span to run on: the given one, else the newest that is not golden.

    Raises:
      UsageError: if there is none, it is the golden one, it was ingested under other settings than the config's, or it
        cannot fill a batch.
    """
    golden = config.data.golden_span
    spans = [number for number in list_spans(workspace.data) if number != golden]
    if not spans:
        but = f" but the golden {golden}" if list_spans(workspace.data) else ""
        raise UsageError(f"{workspace.data} holds no span{but}; run segpipe ingest --workspace {workspace.root} first")
    number = spans[-1] if span is None else span
    if number == golden:
        raise UsageError(f"--span {number}: is data.golden_span, which no run may train on; choose another span")
    _check_settings(config, workspace, number)
    photos = read_manifest(workspace.data, number).examples("train")
    if photos < config.training.batch_size:
        raise UsageError(
            f"span {number} holds {photos} training photos, fewer than training.batch_size "
            f"{config.training.batch_size}; lower the batch size or ingest more photos"
        )
    return number


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


def plan(config: Config, workspace: Workspace, span: int | None) -> Places:
    """Writes the windows and the schema of a run on one span, and says where everything is.

    Raises:
      UsageError: see `choose_span`, `write_window` and `schema_for`; if a warm start or a golden span would flatter the
        score; or if the backbone's weights cannot be had.
    """
    try:
        check_weights(config.model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check(config.beam_args)
    chosen = choose_span(config, workspace, span)
    trained = [chosen]
    if config.training.warm_start:
        # The blessed model may stem from any of them.
        trained = [number for number in list_spans(workspace.data) if number != config.data.golden_span]
        others = [number for number in trained if number != chosen]
        mend = "turn training.warm_start off or ingest with another split"
        refuse_leaks(workspace.data, chosen, ("eval",), others, mend)
    return Places(
        window=write_window(workspace.data, [chosen]),
        golden=_golden_window(config, workspace, trained),
        schema=schema_for(config, workspace.schemas),
        pipeline_root=workspace.pipeline_root,
        serving=workspace.serving,
        checkpoints=workspace.checkpoints,
    )
