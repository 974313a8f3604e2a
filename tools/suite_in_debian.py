"""Runs the test suite on TFX 1.21, in a Debian 13 of its own, and the build steps of the image.

    make test-next                        as root; 7.5 GB in the user's cache

The commit that is checked out is what is tested. Where this machine runs TFX 1.16, a workspace that it made is handed
in, so that opening one of those is tested as well.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from debian_root import CACHE, Root, RootError, bare_root

REPOSITORY = Path(__file__).resolve().parents[1]
# The repository before its tests, which have folders of the same names.
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from drawing import SAMPLE  # noqa: E402
from older_workspace import OLDER, make  # noqa: E402

PACKAGES = ["build-essential", "curl", "git", "make", "procps", "python3-dev", "python3-venv"]
SOURCE = "/srv/segpipe"


def main(jobs: str) -> int:
    """The exit status: 0 if all passed."""
    base = bare_root()
    root = _suite_root(base)
    _check_out(root)
    environment, binds = {}, []
    older = _older_workspace()
    if older is not None:
        environment[OLDER], binds = str(older), [older]
    if SAMPLE.is_dir():
        environment["SEGPIPE_SAMPLE"] = str(SAMPLE.resolve())
        binds.append(SAMPLE.resolve())
    print("the suite on TFX 1.21", flush=True)
    suite = root.command(["make", "test", f"JOBS={jobs}"], environment, folder=SOURCE, binds=binds)
    failed = subprocess.run(suite, stdin=subprocess.DEVNULL).returncode
    print("the build steps of the image", flush=True)
    image = [sys.executable, "-m", "pytest", "tests/deploy/test_image.py"]
    failed |= subprocess.run(image, cwd=REPOSITORY, env=os.environ | {"SEGPIPE_DEBIAN": str(base)}).returncode
    return 1 if failed else 0


def _suite_root(base: Path) -> Root:
    """A Debian 13 with a compiler, Python and what the pages' commands call in it."""
    root, made = Root(CACHE / "suite"), CACHE / "suite.made"
    if not made.exists():
        root = Root.copy_of(base, root.path)
    if not made.exists() or made.read_text().split() != PACKAGES:
        root.run(["apt-get", "update"])
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
        root.run(install, environment={"DEBIAN_FRONTEND": "noninteractive"})
        made.write_text(" ".join(PACKAGES))
    return root


def _check_out(root: Root) -> None:
    """Brings the commit that is checked out here into the root; the environment that an earlier one left stays."""
    folder = root.path / SOURCE.lstrip("/")

    def git(*arguments: str, cwd: Path = folder) -> str:
        return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()

    if not folder.exists():
        git("clone", "--quiet", "--no-local", str(REPOSITORY), str(folder), cwd=REPOSITORY)
    commit = git("rev-parse", "HEAD", cwd=REPOSITORY)
    git("fetch", "--quiet", str(REPOSITORY), commit)
    git("reset", "--quiet", "--hard", commit)
    git("clean", "--quiet", "-d", "--force")
    changed = git("status", "--porcelain", cwd=REPOSITORY)
    print(f"testing {commit}{', without what is not committed' if changed else ''}", flush=True)


def _older_workspace() -> Path | None:
    """The folder of a workspace that this environment made; None where it has TFX 1.21 itself."""
    if sys.version_info >= (3, 11):
        return None
    folder = CACHE / "older"
    shutil.rmtree(folder, ignore_errors=True)
    print("making a workspace with TFX 1.16", flush=True)
    make(folder)
    return folder


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except RootError as error:
        sys.exit(f"make test-next: {error}")
