"""A full disk is recognised in what each library makes of it, and the right folder is named."""

import errno
import os
import shutil

import pytest

from pipeline.no_space import no_space

_REASON = "No space left on device"


def _full(folder, text: str) -> Exception:
    error = RuntimeError("the component broke")
    error.__cause__ = RuntimeError(text.format(folder))
    return error


@pytest.fixture
def folder(tmp_path):
    """A folder whose name holds a space."""
    folder = tmp_path / "my data"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "{}/gone/model.tmp; " + _REASON,
        'Traceback (most recent call last):\n  File "/usr/lib/python3/os.py", line 1\nE: {}/x; ' + _REASON + " [Op:A]",
        "[('/usr/lib/from', '{}/to', \"[Errno 28] " + _REASON + ": '/elsewhere'\")]",
    ],
    ids=["TensorFlow", "a traceback of Beam", "shutil"],
)
def test_the_folder_that_the_text_names_is_told(folder, text):
    sentence = no_space(_full(folder, text), "/")
    assert sentence.startswith(f"no space left on the disk of {folder} (")
    assert sentence.endswith(" MB free now); make room there")


def test_the_file_that_an_os_error_names_decides(folder):
    error = OSError(errno.ENOSPC, _REASON, str(folder / "gone" / "x"))
    assert f" of {folder} (" in no_space(error, "/")
    moved = OSError(errno.EDQUOT, "Disk quota exceeded", "/usr/lib/from", None, str(folder / "to"))
    assert f" of {folder} (" in no_space(moved, "/")


@pytest.mark.parametrize("text", [_REASON, "database or disk is full", "[Errno 28] no space left on device"])
def test_where_nothing_is_named_the_given_folder_is(folder, text):
    assert f" of {folder} (" in no_space(RuntimeError(text), str(folder))
    assert f" of {os.getcwd()} (" in no_space(RuntimeError(text))


@pytest.mark.parametrize(
    "error", [ValueError("a batch is full"), OSError(errno.EACCES, "Permission denied", "/x"), shutil.Error([])]
)
def test_other_problems_are_none_of_this(error):
    assert no_space(error, "/") is None
