"""Archives that nobody here has made: honest ones in every form, and hostile ones that must leave nothing behind."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from components.errors import SegpipeError
from components.ingest.archive import unpack

LIMITS = {"max_bytes": 1_000_000, "max_files": 100}


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "", size: int | None = None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if size is None else size
    return info, content


def folder_member(name: str):
    return member(name, b"", tarfile.DIRTYPE)


def archive(path: Path, members: list, mode: str = "w:gz", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


PHOTOS = [folder_member("images"), member("images/a.jpg", b"photo a"), member("images/more/b c.jpg", b"photo b")]


@pytest.mark.parametrize("mode", ["w:gz", "w"], ids=["gzip", "plain tar"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_an_archive_unpacks_whatever_its_name_says(tmp_path, mode, form):
    path = archive(tmp_path / "images.tar.gz", PHOTOS, mode, form)
    unpack(str(path), str(tmp_path), "images", **LIMITS)
    assert (tmp_path / "images" / "a.jpg").read_bytes() == b"photo a"
    assert (tmp_path / "images" / "more" / "b c.jpg").read_bytes() == b"photo b"
    assert sorted(os.listdir(tmp_path)) == ["images", "images.tar.gz"]


def test_names_that_begin_with_a_dot_or_are_long_or_no_ascii_are_names(tmp_path):
    long = "images/" + "é" * 100 + ".jpg"
    members = [member("./images/a.jpg"), member("images/._a.jpg"), folder_member("."), member(long)]
    unpack(str(archive(tmp_path / "a.tar.gz", members)), str(tmp_path), "images", **LIMITS)
    assert len(os.listdir(tmp_path / "images")) == 3


def test_rights_and_owners_of_the_archive_are_not_taken_over(tmp_path):
    info, content = member("images/a.jpg")
    info.mode, info.uid = 0o4777, 12345
    unpack(str(archive(tmp_path / "a.tar.gz", [(info, content)])), str(tmp_path), "images", **LIMITS)
    found = (tmp_path / "images" / "a.jpg").stat()
    assert (found.st_mode & 0o7111, found.st_uid) == (0, os.getuid())


HOSTILE = {
    "up": ([member("images/../../evil")], "leads out of the folder"),
    "up at once": ([member("../evil")], "leads out of the folder"),
    "absolute": ([member("/tmp/evil")], "leads out of the folder"),
    "beside": ([member("evil")], "is not in the folder images"),
    "another folder": ([member("masks/a.png")], "is not in the folder images"),
    "file as folder": ([member("images")], "is not in the folder images"),
    "symbolic link": ([member("images/a", b"", tarfile.SYMTYPE, "/etc/passwd")], "is a link, a device"),
    "link inside": ([*PHOTOS, member("images/b", b"", tarfile.SYMTYPE, "a.jpg")], "is a link, a device"),
    "hard link": ([member("images/a", b"", tarfile.LNKTYPE, "/etc/passwd")], "is a link, a device"),
    "write through link": (
        [member("images/a", b"", tarfile.SYMTYPE, ".."), member("images/a/evil")],
        "is a link, a device",
    ),
    "character device": ([member("images/null", b"", tarfile.CHRTYPE)], "is a link, a device"),
    "block device": ([member("images/sda", b"", tarfile.BLKTYPE)], "is a link, a device"),
    "pipe": ([member("images/pipe", b"", tarfile.FIFOTYPE)], "is a link, a device"),
    "twice": ([member("images/a"), member("images/a", b"other")], "comes twice"),
    "file over folder": ([folder_member("images/a"), member("images/a")], "comes twice"),
    "too many": ([member(f"images/{i}") for i in range(101)], "exceeds the limit of 1000000 bytes or 100 files"),
    "too large": ([member("images/a", bytes(1_000_001))], "exceeds the limit"),
    "too large in sum": ([member(f"images/{i}", bytes(300_000)) for i in range(4)], "exceeds the limit"),
    "nothing in it": ([], "holds no folder images"),
}


def refusal(path: Path, folder: Path) -> str:
    """The sentence that refuses an archive; nothing of it is left, inside of the folder or beside it."""
    before = sorted(p for p in folder.parent.rglob("*"))
    with pytest.raises(SegpipeError) as caught:
        unpack(str(path), str(folder), "images", **LIMITS)
    assert sorted(p for p in folder.parent.rglob("*")) == before
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "in" / "pets").mkdir(parents=True)
    return tmp_path / "in" / "pets"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", ["w:gz", "w"], ids=["gzip", "plain tar"])
def test_a_hostile_archive_is_refused_in_one_sentence_and_leaves_nothing(folder, name, mode):
    members, why = HOSTILE[name]
    assert why in refusal(archive(folder / "images.tar.gz", members, mode), folder)
    assert not Path("/tmp/evil").exists()


def test_a_sparse_file_that_claims_terabytes_is_refused(folder):
    info, _ = member("images/a", kind=tarfile.GNUTYPE_SPARSE, size=512)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[483:495] = b"77777777777\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path = folder / "images.tar.gz"
    path.write_bytes(bytes(block) + bytes(512 * 3))
    assert "is a link, a device or another special file" in refusal(path, folder)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME], ids=["PAX header", "long name"])
def test_a_header_that_unpacks_to_gigabytes_is_not_read_into_memory(folder, kind):
    path = folder / "images.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(member("images/a", kind=kind, size=4 << 30)[0].tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert f"is damaged or no tar archive (a header of {4 << 30} bytes)" in refusal(path, folder)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_before_it_is_written(folder):
    path = folder / "images.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(member("images/a", size=8 << 30)[0].tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert "exceeds the limit" in refusal(path, folder)


def _whole(folder: Path) -> bytes:
    return archive(folder / "images.tar.gz", [member(f"images/{i}", os.urandom(5000)) for i in range(20)]).read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:5000] + bytes(100) + content[5100:],
        lambda content: b"<html>Not found</html>",
        lambda content: b"",
        lambda content: b"PK\x03\x04" + content,
    ],
    ids=["half", "last byte missing", "altered", "a web page", "empty", "another format"],
)
def test_a_damaged_archive_is_refused_and_leaves_nothing(folder, damage):
    path = folder / "images.tar.gz"
    path.write_bytes(damage(_whole(folder)))
    assert "is damaged or no tar archive" in refusal(path, folder)


def test_half_of_a_plain_tar_is_refused(folder):
    path = archive(folder / "images.tar.gz", [member(f"images/{i}", bytes(5000)) for i in range(20)], "w")
    path.write_bytes(path.read_bytes()[:30_000])
    assert "is damaged or no tar archive" in refusal(path, folder)
