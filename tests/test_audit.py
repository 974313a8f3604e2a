"""The audit of dependencies: a new advisory is red, an accepted one is not, and an entry that went stale is red."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
LOCKED = sorted((REPOSITORY / "requirements").glob("tfx-*.txt"))
sys.path.insert(0, str(REPOSITORY / "tools"))

import audit  # noqa: E402

LOCK = """# a comment
keras==3.6.0 \\
    --hash=sha256:00
    # via -r a.in
google-cloud-storage==2.19.0
tfx[kfp]==1.16.0 ; python_version < "3.11" \\
"""
ENTRY = {"id": "CVE-1", "package": "Keras", "affected": "<3.8", "reason": "not reached"}
FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-1"], "fix_versions": ["3.8.0"]}


@pytest.fixture
def pins(tmp_path) -> dict[str, str]:
    path = tmp_path / "lock.txt"
    path.write_text(LOCK)
    return audit.locked(path)


def accepted(tmp_path: Path, pins: dict[str, str], *entries: dict):
    path = tmp_path / "advisories.yaml"
    path.write_text(yaml.safe_dump(list(entries)))
    return audit.read_accepted(path, [pins])


def test_every_pin_of_a_lock_is_read(pins):
    assert pins == {"keras": "3.6.0", "google-cloud-storage": "2.19.0", "tfx": "1.16.0"}


def test_an_accepted_advisory_is_known_by_any_of_its_names(tmp_path, pins):
    found, wrong = accepted(tmp_path, pins, ENTRY)
    assert wrong == []
    assert audit.judge([{"name": "keras", "version": "3.6.0", "vulns": [FOUND]}], found) == []


@pytest.mark.parametrize(
    "record", [{"name": "keras", "vulns": [FOUND | {"aliases": []}]}, {"name": "tfx", "vulns": [FOUND]}]
)
def test_an_advisory_that_nobody_accepted_for_this_package_is_named_with_its_mend(tmp_path, pins, record):
    found, _ = accepted(tmp_path, pins, ENTRY)
    (sentence,) = audit.judge([record | {"version": "1"}], found)
    assert sentence.startswith(f"{record['name']} 1: ") and sentence.endswith("PYSEC-1, mended in 3.8.0")


@pytest.mark.parametrize(
    "change, why",
    [
        ({"affected": "<3.5"}, "CVE-1 is mended in keras 3.6.0; remove the entry"),
        ({"package": "torch"}, "CVE-1 is about torch, which is not locked; remove the entry"),
        ({"reason": " "}, "CVE-1 must have just affected, id, package, reason, and none may be empty"),
        ({"until": "2027"}, "CVE-1 must have just"),
    ],
)
def test_an_entry_that_does_not_hold_is_named(tmp_path, pins, change, why):
    _, (sentence,) = accepted(tmp_path, pins, ENTRY | change)
    assert why in sentence


def run_audit(locks: list[Path], advisories: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "tools" / "audit.py"), *map(str, locks), str(advisories), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ | environment)


def test_the_entries_of_this_repository_hold_and_without_network_it_says_so():
    advisories = REPOSITORY / "requirements" / "advisories.yaml"
    locks = [audit.locked(lock) for lock in LOCKED]
    assert all(len(pins) > 200 for pins in locks) and audit.read_accepted(advisories, locks)[1] == []
    # A proxy that is not there stands for no network.
    done = run_audit(LOCKED, advisories, https_proxy="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("NOT AUDITED: advisories cannot be had here (ProxyError)") == len(LOCKED) == 2


def test_a_stale_entry_is_red_without_network_too(tmp_path):
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "advisories.yaml").write_text(yaml.safe_dump([ENTRY | {"affected": "<1"}]))
    done = run_audit([tmp_path / "lock.txt"], tmp_path / "advisories.yaml", https_proxy="http://127.0.0.1:9")
    assert done.returncode == 1 and "is mended in keras 3.6.0" in done.stderr


class Answers(BaseHTTPRequestHandler):
    """Sends JSON and keeps quiet."""

    def send(self, answer: dict | None):
        content = json.dumps(answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def on_loopback(handler: type[Answers]):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def osv():
    """The address of an OSV server on loopback that knows one advisory, about keras before 3.8."""

    class Handler(Answers):
        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = query["package"]
            events = [{"introduced": "0"}, {"fixed": "3.8.0"}]
            affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
            advisory = {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "bad", "affected": affected}
            self.send({"vulns": [advisory]} if package["name"] == "keras" else {})

    with on_loopback(Handler) as address:
        yield f"{address}/v1/query"


@pytest.mark.parametrize("entries, status", [([], 1), ([ENTRY], 0)], ids=["new", "accepted"])
def test_pip_audit_over_a_lock_is_red_for_a_new_advisory_and_not_for_an_accepted_one(tmp_path, osv, entries, status):
    lines = [f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in ("keras==3.6.0", "tfx==1.16.0", "rich==15.0.0")]
    (tmp_path / "lock.txt").write_text("".join(lines))
    (tmp_path / "advisories.yaml").write_text(yaml.safe_dump(entries))
    done = run_audit([tmp_path / "lock.txt"], tmp_path / "advisories.yaml", "--osv-url", osv)
    assert (done.returncode, done.stdout) == (
        status,
        f"audited 3 of 3 packages of {tmp_path}/lock.txt; {len(entries)} advisories are accepted in "
        f"{tmp_path}/advisories.yaml\n",
    )
    assert done.stderr == ("" if entries else "keras 3.6.0: CVE-1/PYSEC-1, mended in 3.8.0\n")


def project(newest: str, vulnerabilities: list[dict] = (), **reasons: str) -> dict:
    """A page of PyPI of a project with the releases 3.6.0 and `newest`; `reasons` tells why 3.6.0 was withdrawn."""
    files = [{"yanked": bool(reasons), "yanked_reason": reasons.get("withdrawn")}]
    return {
        "info": {"version": newest},
        "vulnerabilities": list(vulnerabilities),
        "releases": {"3.6.0": files, newest: files},
    }


ADVISORY = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["3.8.0"]}


@pytest.mark.parametrize(
    "page, entries, status, audited, said",
    [
        (project("3.6.0", [ADVISORY]), [], 1, 1, "keras 3.6.0: CVE-1/PYSEC-1, mended in 3.8.0\n"),
        (project("3.6.0", [ADVISORY]), [ENTRY], 0, 1, ""),
        (project("3.9.0", []), [], 0, 0, ""),
        (project("3.9.0", withdrawn="eats masks"), [], 1, 0, "keras 3.6.0 was withdrawn: eats masks\n"),
    ],
    ids=["new", "accepted", "older", "withdrawn"],
)
def test_a_mirror_tells_of_newest_releases_and_of_withdrawn_ones(tmp_path, page, entries, status, audited, said):
    class Mirror(Answers):
        def do_GET(self):
            self.send(page if self.path == "/pypi/keras/json" else None)

    (tmp_path / "lock.txt").write_text(f"keras==3.6.0 \\\n    --hash=sha256:{'0' * 64}\n")
    (tmp_path / "advisories.yaml").write_text(yaml.safe_dump(entries))
    with on_loopback(Mirror) as mirror:
        options = ["--mirror-url", mirror]
        advisories = tmp_path / "advisories.yaml"
        done = run_audit([tmp_path / "lock.txt"], advisories, *options, https_proxy="http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (status, said)
    assert done.stdout.startswith(
        f"audited {audited} of 1 packages of {tmp_path}/lock.txt, those at their newest release"
    )
