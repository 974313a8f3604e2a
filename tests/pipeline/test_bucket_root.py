"""A root in a bucket: what each process sees of it, and what it leaves there."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from s3_service import BUCKET, s3_service

from components.errors import SegpipeError, UsageError
from pipeline import bucket_root
from pipeline.bucket_lock import LOCK, locked
from pipeline.bucket_root import COPIES, open_root
from pipeline.buckets import open_bucket
from pipeline.cli import main

ROOT = f"s3://{BUCKET}/team/segpipe"
MODEL = "pipeline_root/Trainer/model/7"


@pytest.fixture(scope="module")
def service():
    with s3_service() as running:
        yield running


@pytest.fixture
def s3(service, monkeypatch, tmp_path):
    """An empty bucket, and a machine that finds it."""
    for key in service.keys(""):
        service.client().delete_object(Bucket=BUCKET, Key=key)
    for name, value in (service.environment | {COPIES: str(tmp_path / "copies")}).items():
        monkeypatch.setenv(name, value)
    return service


def put(s3, **files: str) -> None:
    """Puts files below the root."""
    for key, content in files.items():
        s3.client().put_object(Bucket=BUCKET, Key=f"team/segpipe/{key}", Body=content.encode())


def write(workspace, key: str, content: str) -> Path:
    path = Path(workspace.root, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def below(s3) -> list[str]:
    return [key.removeprefix("team/segpipe/") for key in s3.keys("team/segpipe/")]


def files(workspace) -> set[str]:
    return {str(path.relative_to(workspace.root)) for path in Path(workspace.root).rglob("*") if path.is_file()}


def test_what_one_process_writes_the_next_one_has(s3):
    with open_root(ROOT) as workspace:
        assert files(workspace) == set()
        write(workspace, "data/span-1/manifest.json", "{}")
        write(workspace, "data/span-1/train-0.tfrecord", "records")
    assert s3.read("team/segpipe/data/span-1/train-0.tfrecord") == b"records"
    with open_root(ROOT) as workspace:
        assert files(workspace) == {"data/span-1/manifest.json"}, "large files are copied when they are asked for"
        workspace.fetch([f"{workspace.data}/span-1"])
        assert Path(workspace.data, "span-1", "train-0.tfrecord").read_text() == "records"


def test_a_copy_begins_without_what_an_earlier_process_left(s3):
    with open_root(ROOT) as workspace:
        folder = workspace.root
    write(workspace, "data/half", "left")
    with open_root(ROOT) as workspace:
        assert (workspace.root, files(workspace)) == (folder, set())
    assert below(s3) == []


def test_only_what_changed_is_written(s3, monkeypatch):
    put(s3, **{"data/windows/a/window.json": "1", "schema.pbtxt": "2"})
    uploaded = []
    with open_root(ROOT) as workspace:
        upload = workspace.copy.bucket.upload
        monkeypatch.setattr(
            workspace.copy.bucket, "upload", lambda path, key: uploaded.append(key) or upload(path, key)
        )
        write(workspace, "schema.pbtxt", "another")
        write(workspace, "data/.span-2-x/half", "unfinished")
        write(workspace, "checkpoints/abc.npz.1.part", "unfinished")
    assert uploaded == ["team/segpipe/schema.pbtxt"]
    assert s3.read("team/segpipe/schema.pbtxt") == b"another"


def test_artifacts_are_there_for_tfx_and_come_when_they_are_read(s3):
    put(s3, **{f"{MODEL}/Format-Serving/saved_model.pb": "model", f"{MODEL}/Format-Serving/variables/v": "weights"})
    with open_root(ROOT) as workspace:
        folder = Path(workspace.root, MODEL)
        assert (folder.is_dir(), files(workspace)) == (True, set())
        workspace.fetch([str(folder)])
        assert (folder / "Format-Serving" / "variables" / "v").read_text() == "weights"
    assert len(below(s3)) == 2


def test_an_artifact_that_was_not_read_stays_and_one_that_is_made_anew_replaces_it(s3):
    put(s3, **{f"{MODEL}/old": "of a run of before", "pipeline_root/Trainer/model/6/kept": "x"})
    with open_root(ROOT) as workspace:
        write(workspace, f"{MODEL}/new", "of this one")
    assert sorted(below(s3)) == ["pipeline_root/Trainer/model/6/kept", f"{MODEL}/new"]


def test_an_artifact_without_a_file_is_there_for_the_next_process(s3):
    with open_root(ROOT) as workspace:
        os.makedirs(os.path.join(workspace.root, MODEL))
    for _ in range(2):
        with open_root(ROOT) as workspace:
            assert os.path.isdir(os.path.join(workspace.root, MODEL))
            workspace.fetch([os.path.join(workspace.root, MODEL)])


def test_files_are_as_old_as_in_the_bucket(s3):
    put(s3, **{"data/windows/a/window.json": "1"})
    times = []
    for _ in range(2):
        with open_root(ROOT) as workspace:
            times.append(os.stat(f"{workspace.data}/windows/a/window.json").st_mtime_ns)
    assert times[0] == times[1], "a training that is tried again knows its data by it"


def test_a_writer_sees_what_changed_while_it_waited(s3):
    put(s3, **{"schema.pbtxt": "old", "serving_model/1/saved_model.pb": "model"})
    with open_root(ROOT, serving=True) as workspace:
        put(s3, **{"schema.pbtxt": "newer", "serving_model/2/saved_model.pb": "model"})
        s3.client().delete_object(Bucket=BUCKET, Key="team/segpipe/serving_model/1/saved_model.pb")
        with workspace.writer("rollback"):
            assert files(workspace) - {".lock", ".lock.json"} == {"schema.pbtxt", "serving_model/2/saved_model.pb"}
            assert Path(workspace.schema).read_text() == "newer"
    assert "serving_model/1/saved_model.pb" not in below(s3)


def test_what_is_served_is_written_by_the_holder_of_the_lock_alone(s3):
    with open_root(ROOT) as workspace:
        with workspace.writer("push"):
            write(workspace, "serving_model/1/saved_model.pb", "model")
        write(workspace, "serving_model/2/saved_model.pb", "not pushed")
    assert [key for key in below(s3) if key != LOCK] == ["serving_model/1/saved_model.pb"]


def test_a_version_is_loadable_once_it_is_whole(s3, monkeypatch):
    order = []
    with open_root(ROOT) as workspace, workspace.writer("push"):
        bucket = workspace.copy.bucket
        for name in ("upload", "delete"):
            real = getattr(bucket, name)
            monkeypatch.setattr(
                bucket, name, lambda *given, name=name, real=real: order.append((name, given[-1])) or real(*given)
            )
        for name in ("saved_model.pb", "variables/a", "variables/b", "assets.extra/pushed.json"):
            write(workspace, f"serving_model/1/{name}", name)
        workspace.copy.store()
        for name in ("saved_model.pb", "variables/a"):
            Path(workspace.serving, "1", name).unlink()
    kept = [(what, key.rpartition("/1/")[2]) for what, key in order]
    assert kept[3:] == [("upload", "saved_model.pb"), ("delete", "saved_model.pb"), ("delete", "variables/a")]


def test_a_second_writer_is_refused_and_told_who_holds_the_root(s3):
    bucket, prefix = open_bucket(ROOT)
    with (
        locked(bucket, prefix, "push", 0, lasts=0.6),
        pytest.raises(SegpipeError, match="pets-bucket/team/segpipe/ is in use by segpipe push on"),
        locked(bucket, prefix, "plan", 0, lasts=0.6),
    ):
        pass
    with locked(bucket, prefix, "plan", 0, lasts=0.6):
        assert b"plan" in s3.read(f"team/segpipe/{LOCK}")
    assert s3.read(f"team/segpipe/{LOCK}") == b"{}"


def test_the_lock_of_a_process_that_was_killed_is_taken_over(s3):
    put(s3, **{LOCK: '{"doing": "push", "host": "pod-7"}'})
    bucket, prefix = open_bucket(ROOT)
    with locked(bucket, prefix, "plan", 0, lasts=0.6):
        assert b"plan" in s3.read(f"team/segpipe/{LOCK}")


def test_a_process_that_lost_its_lock_pushes_nothing(s3):
    lost = pytest.raises(SegpipeError, match="another one took its lock; run it again")
    with open_root(ROOT) as workspace, lost, workspace.writer("push"):
        write(workspace, "serving_model/1/saved_model.pb", "model")
        workspace.copy.held.lost = True
    assert "serving_model/1/saved_model.pb" not in below(s3)


def test_a_holder_whose_lock_is_taken_knows_it(s3):
    bucket, prefix = open_bucket(ROOT)
    with locked(bucket, prefix, "push", 0, lasts=0.4) as held:
        put(s3, **{LOCK: '{"doing": "rollback"}'})
        while not held.lost:
            pass
    assert b"rollback" in s3.read(f"team/segpipe/{LOCK}"), "it does not release the lock of the other one"


def test_checkpoints_are_stored_while_a_training_goes_on(s3):
    with open_root(ROOT) as workspace:
        with workspace.copy.keeping_up(seconds=0.1):
            write(workspace, "checkpoints/abc.npz", "half way")
            while "checkpoints/abc.npz" not in below(s3):
                pass
            Path(workspace.checkpoints, "abc.npz").unlink()
        assert "checkpoints/abc.npz" in below(s3)
    assert "checkpoints/abc.npz" not in below(s3)


def test_a_bucket_that_is_not_there_is_told_in_a_sentence(s3):
    with pytest.raises(SegpipeError, match=r"^s3://no-such-bucket: S3 does not let it \(.*NoSuchBucket.*see to the"):
        open_root("s3://no-such-bucket/x").__enter__()


@pytest.mark.parametrize("address", ["s3://", "s3://a/b", "s3://pets/../x y", "http://pets/x", "s3://Pets/x"])
def test_an_address_that_cannot_be_is_refused(address):
    with pytest.raises(UsageError, match="is neither s3://BUCKET/FOLDER nor gs://BUCKET/FOLDER"):
        open_bucket(address)


def test_without_the_client_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(UsageError, match=r"needs the package boto3, which is not installed; install segpipe\[s3\]"):
        open_bucket(ROOT)


def test_a_folder_of_copies_that_is_not_ones_own_is_refused(s3, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv(COPIES, str(tmp_path / "link"))
    with pytest.raises(UsageError, match="is not a folder of this user"):
        open_root(ROOT).__enter__()


def test_one_process_of_a_machine_has_the_copy(s3, monkeypatch):
    monkeypatch.setattr(bucket_root, "_PATIENCE_SECONDS", 0.1)
    with open_root(ROOT), pytest.raises(SegpipeError, match="in use by another segpipe of this machine"):
        open_root(ROOT).__enter__()


@pytest.mark.parametrize("command", ["run", "gc", "bless latest --reason why", "schema accept", "status"])
def test_a_command_that_cannot_work_on_a_bucket_says_so(command, monkeypatch):
    monkeypatch.delenv("SEGPIPE_METADATA", raising=False)
    told = CliRunner().invoke(main, [*command.split(), "--workspace", ROOT])
    why = "its runs are on a server; name that with" if command == "status" else "this command needs a folder; ingest, "
    assert (told.exit_code, f"segpipe: --workspace {ROOT}: {why}" in told.output) == (2, True), told.output


@pytest.mark.parametrize("key", ["data/../../../escaped", "/etc/escaped", "data//escaped", "../escaped"])
def test_an_object_whose_key_leads_out_of_the_copy_is_refused(s3, key):
    put(s3, **{key: "x"})
    with pytest.raises(SegpipeError, match="escaped: is no path below the root; remove it"):
        open_root(ROOT).__enter__()
