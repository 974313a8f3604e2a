"""A Debian 13 of one's own to run commands in, made by debootstrap: what stands for a container where no engine is.

    root = Root.copy_of(bare_root(), folder)
    root.run(["apt-get", "update"])

A command gets /proc, /dev, /sys and the network as they are here, process numbers of its own, and none of the
environment but what tells package clients their way. All that is mounted goes with it. Only root may do this.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segpipe"
MIRROR = "SEGPIPE_MIRROR"
_SUITE = "trixie"
_CERTIFICATES = "usr/local/share/ca-certificates"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = re.compile(
    r"PIP_(INDEX_URL|CERT|TRUSTED_HOST|DEFAULT_TIMEOUT)|UV_(DEFAULT_INDEX|INDEX_URL)"
    r"|(HTTPS?|NO|https?|no)_(PROXY|proxy)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CI|TERM"
)
_ENTER = """
root=$1 binds=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for folder in $binds; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
done
# Names, that of this machine among them, mean what they mean here.
cp /etc/hosts /etc/resolv.conf "$root/etc"
# The shell stays, as the process that must take note of orphans' ends.
"$@" || exit $?
"""


class RootError(Exception):
    """One sentence that says what is missing and how to mend it."""


@dataclass(frozen=True)
class Root:
    """The root of a system.

    Attributes:
      path: its folder.
    """

    path: Path

    @classmethod
    def copy_of(cls, base: Path, path: Path) -> "Root":
        """A system like another one; what was at the path goes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(path)], check=True)
        return cls(path)

    def command(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        user: str = "root",
        folder: str = "/",
        binds: Iterable[Path] = (),
    ) -> list[str]:
        """What runs a command in there.

        Args:
          command: with its arguments.
          environment: variables that it gets beside those of package clients.
          user: name or number.
          folder: where it runs, in there.
          binds: folders of this system that it sees under the same path; no name may hold a space.
        """
        passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        variables = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"} | passed_on | dict(environment or {})
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _ENTER, "sh"),
            *(str(self.path), " ".join(map(str, binds))),
            *("chroot", f"--userspec={user}", str(self.path), "/usr/bin/env", "-i", f"--chdir={folder}"),
            *(f"{name}={value}" for name, value in variables.items()),
            *command,
        ]

    def run(self, command: Sequence[str], **options) -> None:
        """Runs a command in there.

        Raises:
          RootError: if it fails; the end of what it wrote is in the message.
        """
        done = subprocess.run(self.command(command, **options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            said = done.stdout.decode(errors="replace")[-3000:]
            raise RootError(f"in {self.path}: {' '.join(command)} ended with {done.returncode}\n{said}")


def bare_root() -> Path:
    """The folder of a Debian 13 with nothing in it but what every Debian has; made once, 300 MB.

    Raises:
      RootError: if this is not root, or debootstrap is missing or fails.
    """
    if os.geteuid() != 0:
        raise RootError("a Debian 13 root is made and entered by root alone; run this as root, by sudo for instance")
    base, made = CACHE / "debian-13", CACHE / "debian-13.made"
    if made.exists():
        return base
    _find_debootstrap()
    shutil.rmtree(base, ignore_errors=True)
    base.parent.mkdir(parents=True, exist_ok=True)
    log = CACHE / "debootstrap.log"
    mirror = os.environ.get(MIRROR, "http://deb.debian.org/debian")
    print(f"making a Debian 13 root in {base} from {mirror}", flush=True)
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", _SUITE, str(base), mirror]
    with open(log, "wb") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        last = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
        raise RootError(f"debootstrap failed ({last}); its log is {log}; mend the cause or name a mirror in {MIRROR}")
    _trust(base)
    made.touch()
    return base


def _find_debootstrap() -> None:
    if shutil.which("debootstrap") is None and shutil.which("apt-get") is not None:
        print("installing debootstrap", flush=True)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "debootstrap"]
        for command in (["apt-get", "update"], install):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if shutil.which("debootstrap") is None:
        raise RootError(
            "a Debian 13 root is made by debootstrap, which is not here; install the package debootstrap and try again"
        )


def _trust(base: Path) -> None:
    """Has the system trust the certificates that this one was told to: the network may stand behind them."""
    own = list(Path("/", _CERTIFICATES).glob("*.crt"))
    for certificate in own:
        shutil.copy(certificate, base / _CERTIFICATES)
    if own:
        Root(base).run(["update-ca-certificates"])
