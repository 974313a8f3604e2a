"""What a rollback does to the serving folder and to MLMD, and what it refuses, in a workspace of three models."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import ml_metadata
import pytest
from click.testing import CliRunner, Result
from metadata_service import metadata_service
from ml_metadata.proto import metadata_store_pb2 as mlmd
from stored_runs import GOOD, Store, evaluated, pushed

from components.pusher.versions import list_versions, live_version, origin, publish, read_pushed, reason_not_to_push
from pipeline.cli import main
from pipeline.records import list_runs, runs_of
from pipeline.rollback import complete_rollback
from pipeline.workspace import Workspace

REASON = "cats [with collars] vanish"


class Served:
    """A workspace with models that were trained, blessed and pushed one after the other."""

    def __init__(self, folder: Path):
        self.store, self.workspace = Store(folder), Workspace.at(str(folder))
        self.serving = self.workspace.serving

    def push(self, name: str) -> int:
        """The version of a new model, whose run has the model's name."""
        uri = os.path.join(self.workspace.pipeline_root, "Trainer", "model", name)
        exported = Path(uri, "Format-Serving")
        (exported / "variables").mkdir(parents=True)
        (exported / "saved_model.pb").write_text(name)
        (exported / "variables" / "variables.index").write_text("index of " + name)
        (model,) = self.store.node(name, "Trainer", "COMPLETE", model={"uri": uri})
        version = publish(str(exported), self.serving, uri)
        blessing = {"blessed": 1, "current_model_id": model, "current_model": uri}
        self.store.node(name, "Gate", "COMPLETE", blessing=blessing)
        evaluated(self.store, name, GOOD)
        pushed(self.store, name, version=str(version))
        return version

    def roll_back(self, *arguments: str, reason: str = REASON) -> Result:
        command = ["rollback", *arguments, "--reason", reason, "--workspace", self.workspace.root]
        return CliRunner().invoke(main, command)

    def served(self) -> str:
        """The name of the model that is live."""
        return Path(self.serving, str(live_version(self.serving)), "saved_model.pb").read_text()

    def baseline(self) -> str:
        """The name of the model that TFX's resolver takes as baseline, by the rule of its source."""
        store = self._open()
        blessings = [a.custom_properties for a in store.get_artifacts_by_type("ModelBlessing")]
        blessed = {p["current_model_id"].int_value for p in blessings if p["blessed"].int_value == 1}
        models = [a for a in store.get_artifacts_by_type("Model") if a.state == mlmd.Artifact.LIVE and a.id in blessed]
        return os.path.basename(max(models, key=lambda artifact: artifact.id).uri)

    def blessed(self) -> set[str]:
        """The names of the models that have a blessing."""
        blessings = [a.custom_properties for a in self._open().get_artifacts_by_type("ModelBlessing")]
        return {os.path.basename(p["current_model"].string_value) for p in blessings if p["blessed"].int_value == 1}

    def _open(self) -> ml_metadata.MetadataStore:
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = self.store.path
        return ml_metadata.MetadataStore(config)

    def run(self, name: str):
        return {run.run_id: run for run in list_runs(self.workspace.metadata)}[name]


@pytest.fixture
def served(tmp_path) -> Served:
    return Served(tmp_path)


@pytest.fixture
def three(served) -> tuple[Served, dict[str, int]]:
    return served, {name: served.push(name) for name in "abc"}


def test_the_model_before_goes_live_as_a_new_version_and_is_the_baseline(three):
    served, versions = three
    assert served.baseline() == "c"
    result = served.roll_back()
    assert (result.exit_code, result.stderr) == (0, "")
    new = live_version(served.serving)
    assert result.stdout == (
        f"rolled back from version {versions['c']} to the model of version {versions['b']}, live now as version {new} "
        f"in {served.serving}/{new}\n"
    )
    assert list_versions(served.serving) == [*versions.values(), new] and new > versions["c"]
    assert (served.served(), served.baseline(), served.blessed()) == ("b", "b", {"a", "b"})
    assert origin(served.serving, new) == origin(served.serving, versions["b"])


def test_the_version_and_the_status_say_who_when_why_and_from_where(three):
    served, versions = three
    served.roll_back()
    new, left = live_version(served.serving), served.run("c").rollback
    assert (left.reason, left.left, left.returned_to, left.version) == (REASON, versions["c"], versions["b"], new)
    assert left.by and left.at > 1_600_000_000
    assert read_pushed(served.serving, new).rollback.model_dump() == left.model_dump(exclude={"version", "origin"})
    assert served.run("b").rollback == left and served.run("a").rollback is None
    assert (served.run("b").version, served.run("c").version) == (new, versions["c"])
    status = CliRunner().invoke(main, ["status", "--workspace", served.workspace.root]).stdout
    rows = {line.split()[0]: line for line in status.splitlines()}
    assert f"{new} (live)" in rows["b"] and f"live again, rolled back by {left.by}: {REASON}" in rows["b"]
    assert f"rolled back by {left.by}: {REASON}" in rows["c"] and "live" not in rows["c"]


def test_it_is_recorded_on_the_server_that_has_the_runs(three, tmp_path):
    served, _ = three
    elsewhere = tmp_path / "of-a-server.db"
    os.rename(served.store.path, elsewhere)
    served.store.path = str(elsewhere)
    with metadata_service(str(elsewhere)) as address:
        result = served.roll_back("--metadata", address)
        assert (result.exit_code, result.stderr) == (0, "")
        assert complete_rollback(Workspace.at(served.workspace.root, address)) is None, "it is complete"
        (left,) = [run.rollback for run in runs_of(Workspace.at(served.workspace.root, address)) if run.run_id == "c"]
    assert (left.reason, served.served(), served.baseline()) == (REASON, "b", "b")
    assert not os.path.exists(served.workspace.metadata)


def test_a_second_rollback_goes_further_back_and_not_to_what_the_first_left(three):
    served, _ = three
    for expected in ("b", "a"):
        assert served.roll_back().exit_code == 0
        assert (served.served(), served.baseline()) == (expected, expected)
    before = list_versions(served.serving)
    result = served.roll_back()
    assert (result.exit_code, list_versions(served.serving)) == (2, before)
    assert "holds no other model than that of the live version" in result.stderr


def test_a_named_version_is_returned_to_and_what_a_rollback_left_may_be_named(three):
    served, versions = three
    served.roll_back(str(versions["a"]))
    assert (served.served(), served.baseline()) == ("a", "a")
    model = origin(served.serving, versions["c"])
    assert reason_not_to_push(served.serving, model).endswith(REASON)
    assert served.roll_back(str(versions["c"])).exit_code == 0
    assert (served.served(), served.baseline()) == ("c", "c")
    assert reason_not_to_push(served.serving, model) is None


def test_the_next_model_that_is_pushed_is_the_baseline_again(three):
    served, _ = three
    served.roll_back()
    served.push("d")
    assert (served.served(), served.baseline()) == ("d", "d")
    assert served.roll_back().exit_code == 0
    assert served.served() == "b", "the copy of b is what was before d"


def _damage(folder: Path, how: str) -> str:
    """Damages a version; returns how the refusal begins."""
    if how == "truncated":
        os.truncate(folder / "variables" / "variables.index", 3)
        return f"{folder}/variables/variables.index: is not the file that was pushed"
    if how == "missing":
        (folder / "saved_model.pb").unlink()
        return f"{folder}/saved_model.pb: is missing"
    if how == "linked":
        (folder / "saved_model.pb").unlink()
        (folder / "saved_model.pb").symlink_to("/etc/hostname")
        return f"{folder}/saved_model.pb: is a link to /etc/hostname"
    (folder / "assets.extra" / "pushed.json").unlink()
    return f"{folder}: holds no assets.extra/pushed.json"


@pytest.mark.parametrize("how", ["truncated", "missing", "linked", "unknown"])
def test_a_damaged_version_is_refused_in_one_sentence_and_nothing_changes(three, how):
    served, versions = three
    said = _damage(Path(served.serving, str(versions["a"])), how)
    before = list_versions(served.serving)
    result = served.roll_back(str(versions["a"]))
    assert result.exit_code in (1, 2)
    assert result.stderr.startswith(f"segpipe: {said}") and len(result.stderr.splitlines()) == 1
    assert (list_versions(served.serving), served.baseline(), served.run("c").rollback) == (before, "c", None)


@pytest.mark.parametrize(
    "version, reason, said",
    [
        ("17", REASON, "VERSION 17: not in {serving}, which has [{versions}]; name one of these"),
        ("{live}", REASON, "VERSION {live}: is the model that is live already, as version {live}; name another one"),
        ("{a}", "  ", "--reason is empty; say why the live model has to go"),
    ],
)
def test_what_cannot_be_rolled_back_to_is_exit_status_2(three, version, reason, said):
    served, versions = three
    names = {"live": versions["c"], "a": versions["a"], "serving": served.serving}
    names["versions"] = ", ".join(map(str, versions.values()))
    result = served.roll_back(version.format(**names), reason=reason)
    assert (result.exit_code, result.stderr) == (2, f"segpipe: {said.format(**names)}\n")


def test_without_a_second_model_there_is_nothing_to_roll_back_to(served):
    result = served.roll_back()
    assert (result.exit_code, "holds no model, so there is nothing to roll back" in result.stderr) == (2, True)
    served.push("a")
    result = served.roll_back()
    assert (result.exit_code, "holds no other model than that of the live" in result.stderr) == (2, True)


def test_a_version_of_another_workspace_is_refused(three, tmp_path):
    served, versions = three
    path = Path(served.serving, str(versions["a"]))
    version = publish(str(path), served.serving, "/elsewhere/Trainer/model/1")
    publish(str(path), served.serving, origin(served.serving, versions["c"]))
    result = served.roll_back(str(version))
    assert result.exit_code == 1
    assert "/elsewhere/Trainer/model/1: no run of this workspace made this model" in result.stderr


def test_a_workspace_in_use_is_refused(three):
    served, _ = three
    with served.workspace.writer("run"):
        result = served.roll_back()
    assert (result.exit_code, "is in use by segpipe run" in result.stderr) == (1, True)


def test_damaged_metadata_are_named_and_serving_is_left_alone(three):
    served, versions = three
    Path(served.store.path).write_bytes(b"no database" * 1000)
    result = served.roll_back()
    assert result.exit_code == 1
    assert result.stderr.startswith(f"segpipe: {served.store.path}: cannot be read as a metadata database (")
    assert list_versions(served.serving) == list(versions.values())


def test_new_metadata_hold_up_no_run_whatever_rollback_is_live(three, tmp_path):
    served, _ = three
    served.roll_back()
    os.remove(served.store.path)
    assert complete_rollback(served.workspace) is None
    Store(tmp_path)
    assert complete_rollback(served.workspace) is None


# Dies by SIGKILL at the first step after the rename that makes the new version appear, or just before it.
_KILLED = """
import os, signal, sys
renamed = []
def die(event, arguments):
    if event == "os.rename" and str(arguments[1]).startswith(sys.argv[1]):
        renamed.append(True)
        if sys.argv[2] == "before":
            renamed.clear()
            os.kill(os.getpid(), signal.SIGKILL)
    elif renamed and event != "os.kill":
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
from pipeline.cli import main
main(["rollback", "--reason", sys.argv[4], "--workspace", sys.argv[3]])
"""


def _killed(served: Served, when: str) -> None:
    command = [sys.executable, "-c", _KILLED, served.serving, when, served.workspace.root, REASON]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_killed_before_the_new_version_appears_nothing_has_happened(three):
    served, versions = three
    _killed(served, "before")
    assert (list_versions(served.serving), served.baseline()) == (list(versions.values()), "c")
    assert served.roll_back().stdout.startswith("rolled back from version")
    assert (served.served(), served.baseline()) == ("b", "b")
    assert not [name for name in os.listdir(served.serving) if not name.isdecimal()]


def test_killed_after_the_new_version_appears_the_same_command_completes_the_record(three):
    served, _ = three
    _killed(served, "after")
    assert (served.served(), served.baseline()) == ("b", "c")
    versions = list_versions(served.serving)
    result = served.roll_back(reason="another")
    assert result.stdout.startswith("recorded the rollback of before, which was killed: from version")
    assert (list_versions(served.serving), served.baseline()) == (versions, "b")
    assert served.run("c").rollback.reason == REASON


def test_the_next_run_completes_the_record_of_a_killed_rollback(three):
    served, _ = three
    _killed(served, "after")
    with served.workspace.writer("run"):
        assert complete_rollback(served.workspace).reason == REASON
        assert complete_rollback(served.workspace) is None
    assert served.baseline() == "b"
