"""The same pipeline on the Beam runner and under the `tfx` command, also from a wheel in an empty folder."""

import subprocess
import sys

import pytest
from workbench import BIN, COMPARES, NODES, Bench, copy_source, drawn, executed

pytestmark = pytest.mark.e2e


def test_the_beam_engine_finishes_and_pushes(tmp_path):
    bench = Bench(tmp_path)
    bench.ingest(drawn(tmp_path / "drawn"))
    run = bench.run("--engine", "beam")
    assert (executed(run), run["verdict"]) == (NODES, "pushed")
    assert [str(run["version"])] == bench.versions()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from this source and installed into an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # From a copy: setuptools leaves a build folder beside the source, and would pack what lay there before.
    copy_source(folder / "source")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", folder / "source"]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("segpipe-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, capture_output=True)
    return folder / "site"


def test_the_tfx_command_runs_the_wheel_with_only_the_environments_bin_on_path(tmp_path, installed, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    bench = Bench(tmp_path)
    bench.ingest(drawn(tmp_path / "drawn"))
    environment = {
        "PATH": str(BIN),
        "HOME": str(home),
        "PYTHONPATH": str(installed),
        "SEGPIPE_WORKSPACE": str(bench.workspace),
        "SEGPIPE_CONFIG": str(bench.config),
    }

    def tfx(*arguments):
        command = [BIN / "tfx", *arguments, "--engine", "local"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    tfx("pipeline", "create", "--pipeline-path", str(installed / "pipeline" / "local_runner.py"))
    tfx("run", "create", "--pipeline-name", "segpipe")
    (run,) = bench.status()["runs"]
    assert (executed(run), run["verdict"]) == (NODES, "pushed")
    (page,) = bench.workspace.glob("reports/*/report.html")
    assert f"Pushed as version {run['version']}" in page.read_text(), "templates are in the wheel"
    # One workspace, one cache, one serving folder: after `tfx`, only what compares with the new baseline runs.
    again = bench.run("--engine", "beam")
    assert executed(again) <= COMPARES
    assert (again["verdict"], again["version"]) == ("unchanged", run["version"])
    # Where Beam keeps the engine that it fetches from GitHub if it is left the choice.
    assert not (home / ".apache_beam").exists()
