"""A secret that reaches Beam through the environment is in no artifact, log, report or database afterwards."""

import base64
import os

import pytest
from workbench import Bench, drawn

pytestmark = pytest.mark.e2e

# Beam has these options; what they are worth is handed on to every Beam pipeline of the run.
ARGUMENTS = [
    "--direct_runner_bundle_repeat=${SEGPIPE_TEST_REPEAT}",
    "--s3_secret_access_key=${SEGPIPE_TEST_KEY}",
]
PLANTED = {
    "SEGPIPE_TEST_KEY": "planted/Zx81+key",
    "AWS_SECRET_ACCESS_KEY": "planted-Qw52-aws",
    "HTTP_TOKEN": "pl4nted.tok",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A workspace after ingest and run, and what both printed."""
    folder = tmp_path_factory.mktemp("secrets")
    bench = Bench(folder, {"beam": {"default": {"arguments": ARGUMENTS}}})
    with pytest.MonkeyPatch.context() as patch:
        # Beam fails on a number that is none, so the names are replaced on the way to it.
        patch.setenv("SEGPIPE_TEST_REPEAT", "0")
        for name, value in PLANTED.items():
            patch.setenv(name, value)
        done = bench.ingest(drawn(folder / "drawn"))
        said = done.stdout + done.stderr
        done = bench.segpipe("run", "--config", bench.config)
        yield bench, said + done.stdout + done.stderr


def _forms(secret: str) -> list[bytes]:
    """A secret as it is, and as it could be hidden by an encoding, whatever stands before it in base64."""
    plain = secret.encode()
    shifted = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, plain.hex().encode(), *shifted]


def test_no_file_of_the_workspace_holds_a_planted_secret(bench):
    bench, said = bench
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert {"metadata.db", "manifest.json", "saved_model.pb", "report.json"} <= {path.name for path in files}
    for name, secret in PLANTED.items():
        for form in _forms(secret):
            assert form not in said.encode(), name
            assert [path for path in files if form in path.read_bytes()] == [], name


def test_a_search_of_this_kind_finds_what_is_there(bench, tmp_path):
    bench, _ = bench
    # The names are stored, with the pipeline: the search above reads the right files.
    log = next(iter((bench.workspace / "logs").glob("run-*.log")))
    assert b"SEGPIPE_TEST_KEY" in log.read_bytes()
    assert any(base64.b64encode(b"xy" + b"planted/Zx81+key").find(form) >= 0 for form in _forms("planted/Zx81+key"))


def test_without_the_variable_nothing_starts(bench):
    bench, _ = bench
    logs = os.listdir(bench.workspace / "logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEGPIPE_TEST_KEY")
        done = bench.segpipe("run", "--config", bench.config, status=2)
    assert "segpipe: beam: the environment variable SEGPIPE_TEST_KEY is not set" in done.stderr
    assert os.listdir(bench.workspace / "logs") == logs
