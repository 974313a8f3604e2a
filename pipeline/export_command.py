"""Export from the command line's view: the photos on which both models are compared, and the table of what came out."""

from rich.table import Table

from components.errors import UsageError
from components.example_gen.read import read_examples
from components.export.parity import Parity
from components.ingest.opening import Unreadable, file_bytes
from components.ingest.reader import read_pair
from components.ingest.sources import find_sources
from components.ingest.spans import list_spans, span_folder
from pipeline.config import Config
from pipeline.workspace import Workspace
from trainer.features import IMAGE, MASK, FeatureSpec


def pairs_to_compare(
    config: Config, workspace: Workspace, spec: FeatureSpec, count: int, images: str | None, masks: str | None
) -> tuple[list[tuple[bytes, bytes]], dict[str, str]]:
    """Evaluation photos of the newest span, or the photos of a folder.

    Args:
      config: limits and orientation of photos, as at ingest.
      workspace: whose spans.
      spec: the model's classes.
      count: how many at most.
      images, masks: folders, pairs are found by stem; both or neither.

    Returns:
      Encoded upright photos with their masks; and file -> why it could not be read.

    Raises:
      UsageError: if there is none.
    """
    if (images is None) != (masks is None):
        raise UsageError("give both --images DIR and --masks DIR, or neither for the newest span's evaluation photos")
    pairs, skipped = [], {}
    if images is None:
        newest = list_spans(workspace.data)[-1:]
        examples = [e for n in newest for e in read_examples(span_folder(workspace.data, n), count, "eval-*")]
        pairs = [(example[IMAGE], example[MASK]) for example in examples]
    else:
        for pair in find_sources(images, masks, split_lists=None, eval_share=config.data.eval_share).pairs[:count]:
            try:
                read = read_pair(file_bytes(pair.photo, "photo"), file_bytes(pair.mask, "mask"), spec, config.data)
                pairs.append((read.image, read.mask))
            except Unreadable as error:
                skipped[pair.photo] = str(error)
    if not pairs:
        where = workspace.data if images is None else images
        raise UsageError(f"{where}: holds no photo to compare on; name folders with --images DIR and --masks DIR")
    return pairs, skipped


def parity_table(parity: Parity, kind: str) -> Table:
    """The SavedModel and the file in another format that was made from it."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "SavedModel", kind):
        table.add_column(column, justify="right" if column else "left")
    sides = (parity.saved_model, parity.exported)
    table.add_row("mean_iou", *(f"{side.mean_iou:.4f}" for side in sides))
    table.add_row("MB", *(f"{side.bytes / 1e6:.2f}" for side in sides))
    table.add_row("ms a photo, net alone", *(f"{side.latency_ms:.1f}" for side in sides))
    return table
