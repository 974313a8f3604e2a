"""What both kinds of bucket do alike, each through its own client and a service on loopback."""

import pytest
from s3_service import BUCKET, s3_service
from vertex_service import vertex_service

from components.errors import SegpipeError
from pipeline.bucket_root import COPIES, open_root
from pipeline.buckets import open_bucket


@pytest.fixture(params=["s3", "gs"])
def address(request, monkeypatch, tmp_path):
    """Of an empty bucket."""
    monkeypatch.setenv(COPIES, str(tmp_path / "copies"))
    if request.param == "s3":
        with s3_service() as service:
            for name, value in service.environment.items():
                monkeypatch.setenv(name, value)
            yield f"s3://{BUCKET}"
    else:
        (tmp_path / "buckets" / BUCKET).mkdir(parents=True)
        with vertex_service(tmp_path / "buckets") as service:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.url)
            monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "pets-prod")
            yield f"gs://{BUCKET}"


def test_objects_are_written_listed_read_and_removed(address, tmp_path):
    bucket, prefix = open_bucket(address + "/team/segpipe/")
    assert prefix == "team/segpipe/"
    contents = {"a b.bin": bytes(range(256)) * 100, "c/empty": b"", "c/d": b"\r\n--x\r\n"}
    for name, content in contents.items():
        (tmp_path / "file").write_bytes(content)
        bucket.upload(str(tmp_path / "file"), prefix + name)
    listed = {found.key: found.size for found in bucket.list(prefix)}
    assert listed == {prefix + name: len(content) for name, content in contents.items()}
    assert [found.key for found in bucket.list(prefix + "c/")] == [prefix + "c/d", prefix + "c/empty"]
    assert all(found.modified > 1_600_000_000 for found in bucket.list(prefix))
    for name, content in contents.items():
        bucket.download(prefix + name, str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == content
    for _ in range(2):
        bucket.delete(prefix + "c/d")
    assert prefix + "c/d" not in [found.key for found in bucket.list("")]


def test_of_two_that_write_over_one_version_one_is_first(address):
    bucket, _ = open_bucket(address)
    assert bucket.read("lock") is None
    first = bucket.write_over("lock", b"one", None)
    assert first and bucket.write_over("lock", b"two", None) is None
    assert bucket.read("lock") == (b"one", first)
    second = bucket.write_over("lock", b"three", first)
    assert second and bucket.write_over("lock", b"four", first) is None
    assert bucket.read("lock") == (b"three", second)


def test_an_object_that_is_not_there_is_told_in_a_sentence(address, tmp_path):
    bucket, _ = open_bucket(address)
    with pytest.raises(SegpipeError, match=f"^{address}: .* does not let it "):
        bucket.download("nothing", str(tmp_path / "copy"))


def test_a_workspace_is_the_same_for_the_next_process(address, tmp_path):
    with open_root(address) as workspace, workspace.writer("push"):
        for key in ("data/span-1/manifest.json", "serving_model/1/saved_model.pb", "pipeline_root/A/b/1/c"):
            path = tmp_path / workspace.root / key
            path.parent.mkdir(parents=True)
            path.write_text(key)
        (tmp_path / workspace.root / "pipeline_root/A/empty/2").mkdir(parents=True)
    with open_root(address, serving=True) as workspace:
        found = {str(path.relative_to(workspace.root)) for path in (tmp_path / workspace.root).rglob("*")}
        assert {"data/span-1/manifest.json", "serving_model/1/saved_model.pb", "pipeline_root/A/b/1"} < found
        assert "pipeline_root/A/empty/2" in found
