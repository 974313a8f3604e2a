"""What a pipeline of a workspace runs within: a database that is whole, a cache without damaged artifacts, and TFX's
launcher, whose outputs start empty and get an inventory.
"""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

from ml_metadata.metadata_store import metadata_store
from tfx.orchestration.portable import launcher
from tfx.types import artifact
from tfx.utils import path_utils

from components.pusher.versions import is_copy, live_version, origin
from pipeline.inventory import INVENTORY, remove_damaged, take_inventory
from pipeline.metadata_file import back_up, exists, snapshot, upgrade
from pipeline.record_io import prepare_record_io
from pipeline.workspace import Workspace
from trainer.notes import note


class InventoryLauncher(launcher.Launcher):
    """Records what a node left on disk in the same transaction in which MLMD learns that the node is through."""

    def _run_executor(self, execution_info):
        # A database that was begun anew or put back counts executions from a lower number, whose folders may be there.
        for output in _own_folders(execution_info.output_dict):
            if os.path.isdir(output.uri):
                shutil.rmtree(output.uri)
        prepare_record_io()
        return super()._run_executor(execution_info)

    def _publish_successful_execution(self, execution_id, contexts, output_dict, executor_output):
        for key, listed in executor_output.output_artifacts.items():
            own = {output.uri for output in _own_folders({key: output_dict.get(key, [])})}
            for output in listed.artifacts:
                if output.uri in own:
                    output.custom_properties[INVENTORY].string_value = take_inventory(output.uri)
        super()._publish_successful_execution(execution_id, contexts, output_dict, executor_output)


def _own_folders(output_dict) -> list[artifact.Artifact]:
    """The outputs whose folders TFX makes for the execution."""
    return [output for outputs in output_dict.values() for output in outputs if not output.is_external]


def _forget_damaged_push(store: metadata_store.MetadataStore, serving: str) -> list[str]:
    """Sees to it that the live version is pushed again, as a new one, if it is no longer the model that was copied.

    Returns:
      A sentence that says so, or nothing.
    """
    live = live_version(serving)
    model = None if live is None else origin(serving, live)
    copied = None if model is None else path_utils.serving_model_path(model)
    if copied is None or not os.path.isdir(copied) or is_copy(serving, live, copied):
        return []
    again = False
    for pushed in store.get_artifacts_by_type("PushedModel"):
        of_live = pushed.custom_properties["pushed_version"].string_value == str(live)
        if of_live and f"{os.sep}AtomicPusher{os.sep}" in pushed.uri and os.path.isdir(pushed.uri):
            shutil.rmtree(pushed.uri)
            again = True
    mend = "its model is pushed again" if again else "go to another version with segpipe rollback"
    return [f"{os.path.join(serving, str(live))} is not the model that was pushed any more; {mend}"]


def remove_what_is_damaged(store: metadata_store.MetadataStore, workspace: Workspace) -> None:
    """Removes of what earlier runs left what is not whole any more, so that this one makes it again, and says so.

    A bucket's service sees to what it keeps.
    """
    if workspace.is_copy:
        return
    for sentence in [*remove_damaged(store), *_forget_damaged_push(store, workspace.serving)]:
        note("%s", sentence)


def _remove_compiled_functions() -> None:
    """TensorFlow removes the modules that it writes of functions, but not what Python keeps of such a module."""
    folder = os.path.join(tempfile.gettempdir(), "__pycache__")
    # Another user's are not ours to remove; the folder goes with the last.
    with contextlib.suppress(OSError):
        for path in glob.glob(os.path.join(folder, "__autograph_generated_file*.pyc")):
            os.remove(path)
        os.rmdir(folder)


@contextlib.contextmanager
def launching(workspace: Workspace) -> Iterator[None]:
    """Makes TFX's runners launch nodes as this module says; the caller holds the workspace's lock.

    Raises:
      SegpipeError: if the database is damaged or gone; it says how to go on.
    """
    if exists(workspace.metadata):
        upgrade(workspace.metadata)
        with snapshot(workspace.metadata) as store:
            remove_what_is_damaged(store, workspace)
    # The runners take no launcher as an argument.
    original = launcher.Launcher
    launcher.Launcher = InventoryLauncher
    try:
        yield
    finally:
        launcher.Launcher = original
        _remove_compiled_functions()
    # The tfx command builds pipelines that it does not run.
    if exists(workspace.metadata):
        back_up(workspace.metadata)
