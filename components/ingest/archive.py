"""Unpacks an archive that nobody here has made: plain files below one folder, at once and whole, or nothing.

A tar archive can name files outside of the folder, links, devices, or a few bytes that unpack to terabytes. So this
takes files and folders alone, writes each itself and never over another, and counts what it writes and reads.
"""

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from typing import BinaryIO

from components.errors import SegpipeError

_CHUNK = 1 << 20
# No header of an honest archive comes near this; tarfile reads a header in one piece.
_MOST_AT_ONCE = 16 << 20


class _Bounded:
    """A file that refuses to be read in huge pieces, which is what tarfile does when a header says so."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def unpack(archive: str, folder: str, holds: str, max_bytes: int, max_files: int) -> None:
    """Unpacks `archive` so that `folder/<holds>` appears, by one rename.

    Args:
      archive: a tar file, compressed by gzip or not, whatever its name says.
      folder: where to; `holds` must not be in it yet.
      holds: the one folder at the top of the archive.
      max_bytes: how much may come out.
      max_files: how many files.

    Raises:
      SegpipeError: if the archive is damaged or holds anything but plain files in that folder, or too much.
    """
    staging = tempfile.mkdtemp(prefix=".unpacking-", dir=folder)
    try:
        try:
            _unpack(archive, staging, holds, max_bytes, max_files)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SegpipeError(f"{archive}: is damaged or no tar archive ({error}); download it again") from error
        unpacked = os.path.join(staging, holds)
        if not os.path.isdir(unpacked):
            raise SegpipeError(f"{archive}: holds no folder {holds}; check that it is the right archive")
        os.rename(unpacked, os.path.join(folder, holds))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(archive: str, staging: str, holds: str, max_bytes: int, max_files: int) -> None:
    budget, files = max_bytes, 0
    with open(archive, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if zipped else raw
        with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:
            for member in tar:
                path = _checked(member, archive, staging, holds)
                if member.isdir():
                    os.makedirs(path, exist_ok=True)
                    continue
                budget, files = budget - member.size, files + 1
                if budget < 0 or files > max_files:
                    raise _refusal(archive, member, f"exceeds the limit of {max_bytes} bytes or {max_files} files")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                try:
                    with open(path, "xb") as target:
                        shutil.copyfileobj(tar.extractfile(member), target, _CHUNK)
                except (FileExistsError, IsADirectoryError) as error:
                    raise _refusal(archive, member, "comes twice") from error
        # The checksum of gzip stands at its very end, which tarfile does not read.
        if len(file.read(_MOST_AT_ONCE)) == _MOST_AT_ONCE:
            raise tarfile.ReadError("more follows after its end")


def _checked(member: tarfile.TarInfo, archive: str, staging: str, holds: str) -> str:
    """Where a member goes; raises SegpipeError unless it is a file or a folder in `holds`."""
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise _refusal(archive, member, "is a link, a device or another special file")
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts or "\0" in member.name:
        raise _refusal(archive, member, "leads out of the folder")
    parts = [part for part in parts if part not in ("", ".")]
    if parts[:1] != [holds] or (len(parts) == 1 and not member.isdir()):
        if not parts and member.isdir():
            return staging
        raise _refusal(archive, member, f"is not in the folder {holds}")
    # Python's own filter knows attacks that were found later; older patch releases have none.
    if hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(member, staging)
        except tarfile.FilterError as error:
            raise _refusal(archive, member, str(error)) from error
    return os.path.join(staging, *parts)


def _refusal(archive: str, member: tarfile.TarInfo, why: str) -> SegpipeError:
    return SegpipeError(f"{archive}: member {member.name!r} {why}, so nothing is unpacked; get the archive elsewhere")
