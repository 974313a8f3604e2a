"""The launcher of a node whose root is in a bucket: what the node reads is here before it runs, and what it made is in
the bucket before ML Metadata learns that it has run.
"""

import contextlib
import os

from tfx.orchestration.portable import launcher

from components.anomaly_gate.comparisons import read_comparisons
from components.example_gen.component import SpanExampleGen
from components.example_gen.window import read_window
from pipeline.bucket_copy import Copy
from pipeline.bucket_root import BucketWorkspace
from pipeline.node_launch import Launcher
from pipeline.workspace import Workspace

_TRAINER = "Trainer"


def launcher_for(workspace: Workspace) -> type[launcher.Launcher]:
    """The launcher of steps that share a workspace."""
    return _carrying(workspace) if isinstance(workspace, BucketWorkspace) else Launcher


def _carrying(workspace: BucketWorkspace) -> type[launcher.Launcher]:
    copy = workspace.copy

    class CarryingLauncher(Launcher):
        def _run_executor(self, execution_info):
            copy.fetch_folders(_read_by(execution_info))
            with _training(copy, workspace) if execution_info.pipeline_node.node_info.id == _TRAINER else _nothing:
                return super()._run_executor(execution_info)

        def _publish_successful_execution(self, *arguments, **named):
            copy.store()
            super()._publish_successful_execution(*arguments, **named)

    return CarryingLauncher


_nothing = contextlib.nullcontext()


@contextlib.contextmanager
def _training(copy: Copy, workspace: Workspace):
    copy.fetch_folders([workspace.checkpoints])
    with copy.keeping_up():
        yield


def _read_by(execution_info) -> list[str]:
    """Folders that a node reads: of its inputs, and of the spans whose records it is told to read."""
    folders = [artifact.uri for artifacts in execution_info.input_dict.values() for artifact in artifacts]
    told = execution_info.exec_properties
    if "comparisons" in told:
        pairs = read_comparisons(told["comparisons"])
        folders += [span.folder for pair in pairs for span in (pair.span, pair.previous)]
    if "window" in told and execution_info.pipeline_node.node_info.type.name == SpanExampleGen.get_class_type():
        folders += [span.folder for span in read_window(told["window"]).spans]
    return [os.path.abspath(folder) for folder in folders]
