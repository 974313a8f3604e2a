"""Batch inference: a pipeline of its own that asks the live model about a span or a folder of photos.

    SpanExampleGen or PhotoExampleGen -> (LiveModel) -> BulkInferrer -> MaskWriter

It shares workspace, metadata and artifacts with training, so that the lineage of a mask leads to the run that trained
its model; its name keeps it out of the list of training runs.
"""

import os
from dataclasses import dataclass

from components.errors import UsageError
from components.example_gen.window import write_window
from components.mask_writer.records import MaskManifest, export, exported_before
from components.paths import is_inside
from components.photo_example_gen.listing import write_listing
from components.pusher.versions import live_version, origin, version_folder
from pipeline.beam_arguments import check, check_files
from pipeline.config import Config
from pipeline.execute import watch
from pipeline.records import INFERENCE
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Request:
    """What to ask which model about.

    Attributes:
      source: `span N`, or the folder of photos; for people.
      window, listing: path of the span's window or of the folder's listing; the other is None.
      version: the live version.
      model: URI of the model artifact that it was copied from.
    """

    source: str
    window: str | None
    listing: str | None
    version: int
    model: str


def plan_inference(config: Config, workspace: Workspace, span: int | None, images: str | None) -> Request:
    """Finds model and photos, before TFX is imported.

    Raises:
      UsageError: if not just one of span and images is given, no model is live, its artifact is gone, or the span or
        the folder does not exist.
    """
    if (span is None) == (images is None):
        raise UsageError("give either --span N or --images DIR, to say which photos get masks")
    version = live_version(workspace.serving)
    if version is None:
        raise UsageError(f"{workspace.serving} holds no model; run segpipe run --workspace {workspace.root} first")
    check(config, ["BulkInferrer"])
    check_files(config, ["BulkInferrer"])
    version_folder(workspace.serving, version)
    model = origin(workspace.serving, version)
    if model is None or not os.path.isdir(model):
        raise UsageError(
            f"{workspace.serving}/{version}: the model that it was copied from ({model}) is gone; push a new one with "
            f"segpipe run"
        )
    if not is_inside(model, workspace.pipeline_root):
        raise UsageError(
            f"{workspace.serving}/{version}: says that it was copied from {model}, outside of "
            f"{workspace.pipeline_root}, and only models of this workspace are loaded; push a new one with segpipe run"
        )
    if span is not None:
        return Request(f"span {span}", write_window(workspace.data, [span]), None, version, model)
    listing = write_listing(images, config.data.max_pixels, os.path.join(workspace.data, "listings"))
    return Request(os.path.abspath(images), None, listing, version, model)


def create_inference_pipeline(config: Config, workspace: Workspace, request: Request):
    """Builds the TFX pipeline of a request."""
    from tfx.dsl.components.common.importer import Importer
    from tfx.orchestration.metadata import sqlite_metadata_connection_config
    from tfx.orchestration.pipeline import Pipeline
    from tfx.proto import bulk_inferrer_pb2
    from tfx.types import standard_artifacts

    from components.example_gen.component import SpanExampleGen
    from components.mask_writer.component import MaskWriter
    from components.photo_example_gen.component import PhotoExampleGen
    from components.watched.components import BulkInferrer
    from pipeline.beam_arguments import equip
    from pipeline.fingerprint import fingerprint
    from trainer.features import MASK_PNG, MASK_PNG_BYTES, MASKS_FROM_EXAMPLES

    if request.window is not None:
        example_gen = SpanExampleGen(request.window, fingerprint("components.example_gen.executor"))
    else:
        example_gen = PhotoExampleGen(request.listing, fingerprint("components.photo_example_gen.executor"))
    examples = example_gen.outputs["examples"]

    # TFX finds the artifact that the Trainer registered under this URI again, and with it the model's lineage.
    importer = Importer(source_uri=request.model, artifact_type=standard_artifacts.Model)
    importer = importer.with_id("LiveModel")
    model = importer.outputs["result"]

    columns = bulk_inferrer_pb2.OutputExampleSpec()
    column = columns.output_columns_spec.add().predict_output.output_columns.add()
    column.output_key, column.output_column = MASK_PNG_BYTES, MASK_PNG
    inferrer = BulkInferrer(
        examples=examples,
        model=model,
        model_spec=bulk_inferrer_pb2.ModelSpec(model_signature_name=[MASKS_FROM_EXAMPLES]),
        output_example_spec=columns,
    )
    writer = MaskWriter(
        examples=examples,
        predictions=inferrer.outputs["output_examples"],
        model=model,
        source=request.source,
        model_version=str(request.version),
        fingerprint=fingerprint("components.mask_writer.executor"),
    )
    nodes = [example_gen, importer, inferrer, writer]
    equip(config, nodes)
    return Pipeline(
        pipeline_name=config.pipeline_name + INFERENCE,
        pipeline_root=workspace.pipeline_root,
        components=nodes,
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(workspace.metadata),
    )


@dataclass(frozen=True)
class Inference:
    """What `infer` did: the manifest of the masks, whether any was made just now, and the log."""

    manifest: MaskManifest
    new: bool
    log: str


def infer(
    config: Config, workspace: Workspace, span: int | None, images: str | None, output: str, quiet: bool
) -> Inference:
    """Writes the masks of a span or a folder with the live model.

    Args:
      config: `data.max_pixels` and `beam` matter.
      workspace: whose model is asked.
      span, images: one of the two.
      output: folder for shards and manifest; it is made where it is missing.
      quiet: write no progress.

    Raises:
      UsageError: before anything starts; see `plan_inference` and `exported_before`.
      SegpipeError: if a component failed; it names the component and the log.
    """
    exported_before(output)
    request = plan_inference(config, workspace, span, images)

    def start(_: str) -> None:
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner

        from pipeline.launching import launching

        with launching(workspace):
            if not os.path.isdir(request.model):
                raise UsageError(f"{request.model}: was damaged and is gone; push a new model with segpipe run")
            LocalDagRunner().run(create_inference_pipeline(config, workspace, request))

    run, log = watch(workspace, "infer", quiet, start, INFERENCE)
    manifest = export(run.output("MaskWriter", "masks").uri, output)
    new = any(node.state != "cached" for node in run.nodes.values())
    return Inference(manifest, new, log)
