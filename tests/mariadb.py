"""A MariaDB server of a test's own, on loopback: its own folder, its own port, no service of the system.

with mariadb(folder) as server:
    server.port, server.password
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_BINARIES = {
    name: shutil.which(name, path=_PLACES) for name in ("mariadbd", "mariadb-install-db", "mariadb", "setpriv")
}

needs_mariadb = pytest.mark.skipif(
    None in _BINARIES.values(), reason="needs MariaDB's server, which tools/find_mariadb.sh installs on Debian"
)


@dataclass
class Server:
    """A server that runs, and the user that may make databases on it."""

    socket: str
    port: int
    user: str = "segpipe"
    password: str = "open-sesame-4711"

    def query(self, sql: str) -> str:
        """What the server answers to its root user, a line for each row."""
        command = [_BINARIES["mariadb"], "--no-defaults", "--user=root", f"--socket={self.socket}", "--batch"]
        done = subprocess.run([*command, "--skip-column-names", "--execute", sql], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def mariadb(folder: Path) -> Iterator[Server]:
    """Starts a server whose data are in an empty folder; stops it at the end."""
    data, user = folder / "data", f"--user={os.environ.get('USER') or 'root'}" if os.geteuid() == 0 else None
    install = [_BINARIES["mariadb-install-db"], "--no-defaults", f"--datadir={data}", "--skip-test-db", user]
    install += ["--auth-root-authentication-method=normal"]
    done = subprocess.run([part for part in install if part], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(str(folder / "socket"), port)
    # A test that is killed takes its server along.
    command = [_BINARIES["setpriv"], "--pdeathsig", "TERM", _BINARIES["mariadbd"], "--no-defaults", user]
    command += [f"--datadir={data}", f"--socket={server.socket}"]
    command += ["--bind-address=127.0.0.1", f"--port={port}", f"--pid-file={folder / 'pid'}", "--skip-name-resolve"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([part for part in command if part], stdout=log, stderr=log)
    try:
        _wait_for(process, server, folder / "log")
        server.query(f"CREATE USER '{server.user}'@'%' IDENTIFIED BY '{server.password}'")
        server.query(f"GRANT ALL ON *.* TO '{server.user}'@'%'")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(process: subprocess.Popen, server: Server, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(AssertionError):
            server.query("SELECT 1")
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
