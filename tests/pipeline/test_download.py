"""`segpipe ingest --download` as a user meets it, against a server on loopback with small archives."""

import hashlib
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from drawing import write_pets
from file_server import serving

from pipeline.cli import main

COUNT = "24 photos found = 24 ingested (16 train + 8 eval) + 0 quarantined"


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, bytes]:
    """`images.tar.gz`, which is plain tar in truth, and `annotations.tar.gz`."""
    folder = tmp_path_factory.mktemp("archives")
    train, test = [f"pug_{n}" for n in range(16)], [f"Bengal_{n}" for n in range(8)]
    pets = write_pets(folder / "pets", train=train, test=test)
    (pets / "annotations" / "trimaps" / "._pug_1.png").write_bytes(b"what macOS leaves")
    made = {}
    for name, mode in (("images", "w"), ("annotations", "w:gz")):
        path = folder / f"{name}.tar.gz"
        with tarfile.open(path, mode) as tar:
            tar.add(pets / name, name)
        made[f"/{name}.tar.gz"] = path.read_bytes()
    return made


def config(folder: Path, url: str, archives: dict[str, bytes]) -> str:
    listed = [
        {
            "name": path[1:],
            "bytes": len(c),
            "sha256": hashlib.sha256(c).hexdigest(),
            "holds": path[1:].partition(".")[0],
        }
        for path, c in archives.items()
    ]
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({"downloads": {"pets": {"base_url": url, "archives": listed}}}))
    return str(path)


def arguments(folder: Path, url: str, archives: dict[str, bytes], name: str = "pets") -> list[str]:
    return ["ingest", "--download", name, "--config", config(folder, url, archives), "--workspace", f"{folder}/w"]


def test_a_dataset_is_fetched_over_a_broken_line_unpacked_and_ingested(tmp_path, archives):
    with serving(archives, cuts=[len(archives["/images.tar.gz"]) // 2]) as served:
        result = CliRunner().invoke(main, arguments(tmp_path, served.url, archives))
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [f"wrote {tmp_path}/w/data/span-1", COUNT]
        assert [headers.get("Range", "")[:6] for headers in served.asked] == ["", "bytes=", ""]
        folder = tmp_path / "w" / "downloads" / "pets"
        assert sorted(os.listdir(folder)) == ["annotations", "images"], "archives go once they are unpacked"

        # What is there is not fetched again, and the same input makes no second span.
        again = CliRunner().invoke(main, arguments(tmp_path, served.url, archives))
        assert again.stdout.splitlines() == [f"nothing new, the same input is in {tmp_path}/w/data/span-1", COUNT]
        assert len(served.asked) == 3


def test_the_terminal_shows_the_archive_and_how_many_bytes_came(tmp_path, archives):
    ours, theirs = pty.openpty()
    with serving(archives, pause=0.5) as served:
        command = [str(Path(sys.executable).parent / "segpipe"), *arguments(tmp_path, served.url, archives)]
        environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
        with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment) as process:
            os.close(theirs)
            shown = b""
            while True:
                try:
                    shown += os.read(ours, 65536)
                # What a terminal gives when its last writer has gone.
                except OSError:
                    break
        assert process.returncode == 0, shown.decode()
    text = shown.decode()
    assert "images.tar.gz" in text and "unpacking annotations.tar.gz" in text
    total = f"{len(archives['/images.tar.gz']) / 1000:.1f}/{len(archives['/images.tar.gz']) / 1000:.1f} kB"
    assert total in text, text


def test_a_wrong_archive_ends_in_one_sentence_and_is_not_used(tmp_path, archives):
    with serving({path: bytes(len(content)) for path, content in archives.items()}) as served:
        result = CliRunner().invoke(main, arguments(tmp_path, served.url, archives))
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert f"segpipe: {served.url}images.tar.gz: is not the file that was published" in result.stderr
    folder = tmp_path / "w" / "downloads" / "pets"
    assert sorted(os.listdir(folder)) == ["images.tar.gz.wrong"]
    assert not (tmp_path / "w" / "data").exists()


def test_a_password_comes_from_the_environment_and_is_told_to_nobody(tmp_path, archives, monkeypatch):
    monkeypatch.setenv("MIRROR_PASSWORD", "opensesame")
    with serving(archives) as served:
        url = served.url.replace("127", "ana:${MIRROR_PASSWORD}@127")
        result = CliRunner().invoke(main, arguments(tmp_path, url, archives))
    assert result.exit_code == 0
    assert {headers["Authorization"] for headers in served.asked} == {"Basic YW5hOm9wZW5zZXNhbWU="}
    assert "opensesame" not in result.output
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"opensesame" in p.read_bytes()]


@pytest.mark.parametrize(
    "options, said",
    [
        (["--download", "cats"], "--download cats: is none of pets; choose one or add it to downloads in the config"),
        (["--download", "pets", "--images", "i"], "--download brings its own folders; leave --images, --masks and"),
    ],
)
def test_a_wrong_use_is_exit_status_2(tmp_path, options, said):
    result = CliRunner().invoke(main, ["ingest", *options, "--workspace", str(tmp_path / "w")])
    assert result.exit_code == 2 and f"segpipe: {said}" in result.stderr
    assert not (tmp_path / "w").exists()
