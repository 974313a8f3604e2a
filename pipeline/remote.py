"""A root that is not this machine's: what lies where below it, and how what a run reads gets there.

A run is planned on a workspace here, then its spans and lists are copied, each once, since they never change. Lists
name their spans from where they lie, so that a container reads them wherever it sees the root.
"""

import hashlib
import json
import os
import posixpath
import shutil

from components.anomaly_gate.comparisons import Comparisons, Pair
from components.errors import UsageError
from components.example_gen.window import Window, WindowSpan, refuse_leaks
from components.ingest.spans import MANIFEST, list_spans, read_record, span_folder
from pipeline.config import Config
from pipeline.plan import Places, plan
from pipeline.workspace import Workspace

INPUTS = ("window", "comparisons", "golden", "schema")
"""Fields of `Places` that each run chooses anew; the others are the same for all runs of a root."""


def inputs_of(config: Config) -> list[str]:
    """The fields of `INPUTS` that a run with this config has."""
    return [name for name in INPUTS if name != "golden" or config.data.golden_span is not None]


def places_at(root: str, inputs: dict) -> Places:
    """The places of runs on a root.

    Args:
      root: folder or address.
      inputs: the fields of `INPUTS`: paths, or what an engine puts in their place until a run starts.
    """
    return Places(
        **{name: inputs.get(name) for name in INPUTS},
        pipeline_root=posixpath.join(root, "pipeline_root"),
        serving=posixpath.join(root, "serving_model"),
        checkpoints=posixpath.join(root, "checkpoints"),
    )


def upload_inputs(
    config: Config, workspace: Workspace, root: str, span: int | None = None, window: int | None = None
) -> dict[str, str]:
    """Plans a run and copies what it reads to a root, unless it is there.

    Args:
      config: everything a user may choose.
      workspace: where the spans are.
      root: folder or address that Beam can write to.
      span, window: see `pipeline.plan.plan`.

    Returns:
      Field of `INPUTS` -> path below the root.

    Raises:
      UsageError: see `pipeline.plan.plan`; if a span of the root is another one than here; or if the newest span
        evaluates a photo that any span here trains on, since the blessed model of the root may have learnt it.
    """
    places = plan(config, workspace, span, window)
    chosen = read_record(places.window, Window).spans
    others = [n for n in list_spans(workspace.data) if n not in {s.number for s in chosen} | {config.data.golden_span}]
    refuse_leaks(workspace.data, chosen[-1].number, ("eval",), others, "ingest again with another split")
    pairs = read_record(places.comparisons, Comparisons).pairs
    golden = read_record(places.golden, Window).spans if places.golden else []
    needed = [*chosen, *golden, *(s for pair in pairs for s in (pair.span, pair.previous))]
    for number in sorted({s.number for s in needed}):
        _copy_span(workspace.data, posixpath.join(root, "data"), number)

    compared = Comparisons(pairs=[Pair(span=_beside(p.span), previous=_beside(p.previous)) for p in pairs])
    texts = {
        "window": (_text(Window(spans=list(map(_beside, chosen)))), "data/windows", "window.json"),
        "comparisons": (_text(compared), "data/comparisons", "comparisons.json"),
    }
    if golden:
        texts["golden"] = (_text(Window(spans=list(map(_beside, golden)))), "data/windows", "window.json")
    with open(places.schema, encoding="utf-8") as schema:
        texts["schema"] = (schema.read(), "schemas", "schema.pbtxt")
    return {name: _write_by_content(root, folder, file, text) for name, (text, folder, file) in texts.items()}


def _beside(span: WindowSpan) -> WindowSpan:
    """A span as a list names it that lies at `data/<kind>/<hash>/<name>`."""
    return span.model_copy(update={"folder": posixpath.join("..", "..", f"span-{span.number}")})


def _text(record: Window | Comparisons) -> str:
    return json.dumps(record.model_dump(), indent=1, sort_keys=True) + "\n"


def _write_by_content(root: str, folder: str, name: str, text: str) -> str:
    from apache_beam.io.filesystems import FileSystems

    path = posixpath.join(folder, hashlib.sha256(text.encode()).hexdigest()[:16], name)
    whole = posixpath.join(root, path)
    if not FileSystems.exists(whole):
        with created(whole) as file:
            file.write(text.encode())
    return path


def created(path: str):
    """A new file for bytes, in whatever folder or bucket."""
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    if FileSystems.get_scheme(path) is None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _copy_span(data: str, target: str, number: int) -> None:
    """Copies a span, its manifest last: a span that has one is whole."""
    from apache_beam.io.filesystems import FileSystems

    source, folder = span_folder(data, number), posixpath.join(target, f"span-{number}")
    manifest = posixpath.join(folder, MANIFEST)
    with open(os.path.join(source, MANIFEST), "rb") as file:
        own = file.read()
    if FileSystems.exists(manifest):
        with FileSystems.open(manifest) as file:
            if file.read() != own:
                raise UsageError(f"{manifest}: is another span {number} than that of {data}; ingest under a new number")
        return
    for name in sorted(os.listdir(source), key=lambda name: (name == MANIFEST, name)):
        with open(os.path.join(source, name), "rb") as file, created(posixpath.join(folder, name)) as copy:
            shutil.copyfileobj(file, copy, length=1 << 20)
