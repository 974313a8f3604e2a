"""The workflow of GitHub Actions: its schema takes it, what it calls is there, and no key opens the registry."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

from image_build import read_dockerfile  # noqa: E402
from suite_in_debian import PACKAGES  # noqa: E402

WORKFLOW = REPOSITORY / ".github" / "workflows" / "ci.yaml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]
PUBLISHERS = {"actions", "docker", "google-github-actions"}


def commands(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def checked(path: Path) -> subprocess.CompletedProcess:
    """GitHub's own schema, as the package carries it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_schema_of_workflows_takes_it_and_not_a_misspelt_one(tmp_path):
    done = checked(WORKFLOW)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WORKFLOW.read_text().replace("timeout-minutes", "timeout-minuets"))
    assert checked(wrong).returncode == 1


def test_it_lints_tests_both_tfx_and_compiles_by_targets_that_make_has():
    called = {name: re.findall(r"^make ([\w-]+)", "\n".join(commands(job)), re.MULTILINE) for name, job in JOBS.items()}
    wanted = {"lint": ["lint"], "test-1-16": ["test"], "test-1-21": ["test"], "compile": ["compile"], "image": []}
    assert called == wanted
    for target in {target for targets in called.values() for target in targets}:
        done = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr
    assert "dist/" in [step["with"].get("path") for step in JOBS["compile"]["steps"] if "with" in step]


def test_the_container_of_the_suite_is_the_system_that_make_test_next_makes():
    job = JOBS["test-1-21"]
    assert job["container"] == read_dockerfile((REPOSITORY / "Dockerfile").read_text())["python"].base
    (install,) = [command for command in commands(job) if "apt-get" in command]
    assert set(PACKAGES) <= set(install.split())


def test_the_image_follows_all_checks_and_is_pushed_without_a_key():
    image = JOBS["image"]
    assert set(image["needs"]) == JOBS.keys() - {"image"}
    assert image["permissions"]["id-token"] == "write"
    (auth,) = [step for step in image["steps"] if step.get("id") == "auth"]
    assert set(auth["with"]) == {"workload_identity_provider", "service_account", "token_format"}
    assert "secrets." not in WORKFLOW.read_text()
    targets = {entry["target"] for entry in image["strategy"]["matrix"]["include"]}
    assert targets == {"cpu", "gpu"} <= read_dockerfile((REPOSITORY / "Dockerfile").read_text()).keys()


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_by_itself_and_runs_no_action_of_strangers(name):
    assert JOBS[name]["timeout-minutes"] <= 180
    used = [step["uses"] for step in JOBS[name]["steps"] if "uses" in step]
    assert {action.partition("/")[0] for action in used} <= PUBLISHERS
    assert all(re.search(r"@v\d+$", action) for action in used)
