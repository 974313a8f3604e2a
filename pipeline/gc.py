"""`segpipe gc`: what old runs left behind goes, as far as nothing that is served or repeated needs it.

What stays: all that the newest runs made and read, so that an unchanged run comes from the cache; the models of all
versions in the serving folder; everything that the live model, the one that a rollback would go to and the baseline
were made from; checkpoints, which belong to trainings that are to go on; and the few bytes that `status` quotes.

An artifact is marked as deleted in MLMD before its files go, so that TFX never takes half of one from the cache.
"""

import os
import re
import shutil
from collections import defaultdict
from dataclasses import dataclass, field

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UsageError
from components.paths import is_inside
from components.pusher.versions import list_versions, live_version, origin, version_before
from pipeline.lineage import ancestors, baseline, inputs
from pipeline.litter import Kept, old_files
from pipeline.metadata import open_metadata
from pipeline.records import INFERENCE, list_runs
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace

_FINISHED = {"pushed", "unchanged", "refused", "blessed", "tuned"}
# A few bytes each, and the history of verdicts and reasons is read from them.
_RECORDS = {"ExampleAnomalies", "DataBlessing", "EvaluationVerdict", "InfraBlessing", "ModelBlessing", "PushedModel"}
_LEFT_BEHIND = "left by killed runs"


@dataclass(frozen=True)
class Rubbish:
    """What can go: paths by kind, and the artifacts that lose their files."""

    paths: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    artifacts: list[mlmd.Artifact] = field(default_factory=list)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Kind -> how many paths, and bytes of their files."""
        return {kind: (len(paths), sum(map(_size, paths))) for kind, paths in sorted(self.paths.items())}


def collect(workspace: Workspace, keep_runs: int, dry: bool) -> dict[str, tuple[int, int]]:
    """Removes what old runs left, as the only writer of the workspace.

    Args:
      workspace: which.
      keep_runs: how many of the newest finished runs of each command keep their files.
      dry: only say what would go.

    Returns:
      Kind of files -> how many folders or files of it go, and their bytes.

    Raises:
      UsageError: if there is no run yet.
      SegpipeError: if the workspace is in use.
    """
    if not os.path.isfile(workspace.metadata):
        raise UsageError(f"no run in {workspace.root} yet, so there is nothing to collect; check --workspace")
    with workspace.writer("gc"):
        store = open_metadata(workspace.metadata)
        rubbish = find_rubbish(workspace, store, keep_runs)
        sizes = rubbish.sizes()
        if not dry:
            _remove(store, rubbish)
    return sizes


def _remove(store: metadata_store.MetadataStore, rubbish: Rubbish) -> None:
    for artifact in rubbish.artifacts:
        artifact.state = mlmd.Artifact.DELETED
    store.put_artifacts(rubbish.artifacts)
    for paths in rubbish.paths.values():
        for path in paths:
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def find_rubbish(workspace: Workspace, store: metadata_store.MetadataStore, keep_runs: int) -> Rubbish:
    """What nothing needs any more."""
    kept, uris = _needed(workspace, store, keep_runs)
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    rubbish, live = Rubbish(), set()
    for artifact in store.get_artifacts():
        if artifact.state == mlmd.Artifact.LIVE and is_inside(artifact.uri, workspace.pipeline_root):
            live.add(artifact.uri)
            if artifact.uri not in uris and kinds[artifact.type_id].rpartition(".")[2] not in _RECORDS:
                rubbish.artifacts.append(artifact)
                # A model that was blessed by hand or returned to is recorded several times, and is one folder.
                folders = rubbish.paths[kinds[artifact.type_id]]
                if os.path.exists(artifact.uri) and artifact.uri not in folders:
                    folders.append(artifact.uri)
    rubbish.paths[_LEFT_BEHIND] = [path for path in _outputs(workspace.pipeline_root) if path not in live]
    rubbish.paths.update(old_files(workspace, kept))
    for kind in [kind for kind, paths in rubbish.paths.items() if not paths]:
        del rubbish.paths[kind]
    return rubbish


def _needed(workspace: Workspace, store: metadata_store.MetadataStore, keep_runs: int) -> tuple[Kept, set[str]]:
    """The runs and executions whose files stay, and the URIs of the artifacts that do."""
    runs = list_runs(workspace.metadata)
    newest = _newest(runs, keep_runs) + _newest(list_runs(workspace.metadata, kind=INFERENCE), keep_runs)
    executions = {node.execution_id for run in newest for node in run.nodes.values()}
    artifacts = inputs(store, executions)
    for run in newest:
        artifacts |= {a.id for node in run.nodes.values() for outputs in node.outputs.values() for a in outputs}

    serving = workspace.serving
    origins = {version: origin(serving, version) for version in list_versions(serving)}
    models = {origins.get(live_version(serving)), origins.get(version_before(serving))} - {None}
    roots = {artifact.id for uri in models for artifact in store.get_artifacts_by_uri(uri)}
    latest = baseline(store)
    found, makers = ancestors(store, roots | ({latest.id} if latest is not None else set()))

    uris = {artifact.uri for artifact in store.get_artifacts_by_id(sorted(artifacts | found))} | set(origins.values())
    served = [run for run in runs if (made := run.output("Trainer", "model")) is not None and made.uri in uris]
    return Kept(newest, newest + served, _texts(store, executions | makers)), uris


def _newest(runs: list[RunRecord], count: int) -> list[RunRecord]:
    """The newest finished runs, `count` of searches and of others, and what was started after them."""
    kept: list[RunRecord] = []
    for search in (False, True):
        finished = 0
        for run in (run for run in reversed(runs) if (run.verdict == "tuned") is search):
            if finished < count:
                kept.append(run)
                finished += run.verdict in _FINISHED or run.output("MaskWriter", "masks") is not None
    return kept


def _texts(store: metadata_store.MetadataStore, executions: set[int]) -> list[str]:
    """What the properties of executions say: among it, the paths of what they read besides artifacts."""
    found = store.get_executions_by_id(sorted(executions)) if executions else []
    properties = [p for e in found for p in [*e.properties.values(), *e.custom_properties.values()]]
    return [p.string_value for p in properties if p.string_value]


def _outputs(pipeline_root: str) -> list[str]:
    """The folders that TFX makes for outputs: `<node>/<key>/<execution>`."""
    pattern = re.compile(r"[^./][^/]*/[^./][^/]*/\d+")
    found = []
    for node in sorted(os.scandir(pipeline_root), key=lambda entry: entry.name):
        for key in sorted(os.scandir(node.path), key=lambda entry: entry.name) if node.is_dir() else []:
            for name in sorted(os.listdir(key.path)) if key.is_dir() else []:
                path = os.path.join(key.path, name)
                if os.path.isdir(path) and pattern.fullmatch(os.path.relpath(path, pipeline_root)):
                    found.append(path)
    return found


def _size(path: str) -> int:
    if not os.path.isdir(path):
        return os.lstat(path).st_size
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(path) for name in names)
