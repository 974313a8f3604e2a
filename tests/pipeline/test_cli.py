"""The command line: help with examples, one sentence for a wrong argument, the promised exit statuses."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from drawing import halves, save, write_brightness_model, write_lists, write_pair, write_pets
from stored_runs import GOOD, Store, evaluated, pushed

from pipeline.cli import main
from pipeline.workspace import Workspace
from trainer.features import FeatureSpec

COMMANDS = ["draw", "ingest", "run", "bless", "predict", "evaluate", "status", "schedule"]


def segpipe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sentence(result: Result) -> str:
    """The one line that a refused command writes to standard error."""
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("segpipe: ")
    return lines[0]


def test_help_lists_every_command_and_what_the_exit_status_means():
    result = segpipe("--help")
    assert result.exit_code == 0
    assert set(COMMANDS) <= set(main.commands)
    for command in main.commands:
        assert f"\n  {command} " in result.stdout
    assert "0 pushed or nothing new, 1 failed, 2 wrong usage, 3 refused by a gate" in " ".join(result.stdout.split())


def leaves(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """All commands by what a user types, those of groups in a group too."""
    found = {}
    for name, command in group.commands.items():
        path = f"{before}{name}"
        found |= leaves(command, path + " ") if isinstance(command, click.Group) else {path: command}
    return found


@pytest.mark.parametrize("command", sorted(leaves(main)))
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_of_every_command_shows_an_example_that_parses(command, flag):
    result = segpipe(*command.split(), flag)
    assert result.exit_code == 0
    example = result.stdout.partition(f"Example: segpipe {command}")[2].splitlines()[0].partition(" > ")[0]
    # Parsing alone: a wrong option in the example would be a usage error.
    leaves(main)[command].make_context(command, shlex.split(example))


@pytest.mark.parametrize("command", sorted(leaves(main).keys() - {"draw", "compile"}))
def test_every_command_that_works_on_a_workspace_takes_one(command):
    assert "--workspace" in segpipe(*command.split(), "--help").stdout


@pytest.mark.parametrize(
    "script",
    [
        "import pipeline.cli",
        "from pipeline.cli import main; main(['--help'], standalone_mode=False)",
        "from pipeline.cli import main; main(['run', '--help'], standalone_mode=False)",
    ],
    ids=["import", "help", "help of run"],
)
def test_help_does_not_wait_for_heavy_libraries(script):
    heavy = "{'tensorflow', 'tfx', 'apache_beam', 'numpy', 'pydantic', 'rich', 'matplotlib'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {script}; print({heavy} & set(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_installed_command_is_this_one():
    command = Path(sys.executable).parent / "segpipe"
    done = subprocess.run([command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Trains, gates and publishes" in done.stdout


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["frobnicate"], "frobnicate"),
        (["run", "--engine", "mars"], "--engine"),
        (["run", "--span", "0"], "--span"),
        (["run", "--colour"], "--colour"),
        (["ingest", "--images", "i"], "--masks"),
        (["ingest", "--images", "i", "--masks", "m", "--max-quarantine", "2"], "--max-quarantine"),
        (["predict", "--output", "o"], "PHOTO"),
        (["predict", "a.jpg"], "--output"),
        (["draw", "--output", "o", "--photos", "1"], "--photos"),
        (["draw", "--output", "o", "--seed", "-1"], "--seed"),
        (["status", "--last", "0"], "--last"),
        (["bless", "latest"], "--reason"),
        (["bless", "--reason", "r"], "RUN"),
        (["report", "a", "b"], "b"),
        (["report", "--format", "pdf"], "--format"),
        (["diff", "latest"], "RUN"),
    ],
)
def test_a_wrong_argument_is_named_with_exit_status_2(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = segpipe(*arguments)
    assert result.exit_code == 2
    assert named in result.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


@pytest.fixture
def pets(tmp_path) -> Path:
    return write_pets(tmp_path / "pets", train=["pug_1", "pug_2", "Bengal_1"], test=["pug_3"])


def ingest(pets: Path, workspace: Path, *options: str) -> Result:
    trimaps = pets / "annotations" / "trimaps"
    lists = ("--split-lists", pets / "annotations")
    return segpipe(
        "ingest", "--images", pets / "images", "--masks", trimaps, *lists, "--workspace", workspace, *options
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run"], "workspace/data holds no span; run segpipe ingest --workspace .*workspace first"),
        (["run", "--config", "gone.yaml"], "--config gone.yaml: No such file"),
        (["report"], "no run in .* yet; run segpipe run --workspace"),
        (["report", "2026-11-25"], "no run in .* yet; run segpipe run --workspace"),
        (["diff", "latest", "latest"], "no run in .* yet; run segpipe run --workspace"),
        (["predict", "gone.jpg", "--output", "o"], "gone.jpg: no such photo or folder"),
        (["predict", "a.jpg", "--output", "o"], "serving_model holds no model; run segpipe run --workspace"),
        (["evaluate", "--images", ".", "--masks", "."], "serving_model holds no model"),
        (["ingest", "--images", "gone", "--masks", "."], "--images gone: no such folder"),
        (["ingest", "--images", ".", "--masks", "gone"], "--masks gone: no such folder"),
        (["ingest", "--images", ".", "--masks", ".", "--split-lists", "gone"], "--split-lists gone: holds none of"),
    ],
)
def test_a_wrong_path_is_one_sentence_with_exit_status_2(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    save("a.jpg", np.zeros((8, 8, 3), np.uint8))
    result = segpipe(*arguments, "--workspace", tmp_path / "workspace")
    assert result.exit_code == 2
    assert message.split(".*")[0] in sentence(result)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "--images", "{pets}/images", "--masks", "{pets}/annotations/trimaps", "--workspace", "{file}"],
        ["predict", "{pets}/images/pug_1.jpg", "--output", "{file}", "--workspace", "{served}"],
        ["draw", "--output", "{file}", "--photos", "8"],
    ],
    ids=["workspace", "predictions", "drawing"],
)
def test_a_file_where_a_folder_is_to_be_written_is_named(tmp_path, pets, served, arguments):
    file = save(tmp_path / "file", b"")
    result = segpipe(*(argument.format(pets=pets, file=file, served=served) for argument in arguments))
    assert result.exit_code == 2
    assert str(file) in sentence(result)


def test_debug_shows_where_an_error_comes_from(tmp_path):
    result = segpipe("--debug", "run", "--workspace", tmp_path / "workspace")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("segpipe: ")


def test_ingest_prints_where_every_photo_went(tmp_path, pets):
    save(pets / "images" / "pug_4.jpg", b"no photo")
    save(pets / "annotations" / "trimaps" / "pug_4.png", halves(1, 2))
    write_pair(pets, "pug_5")
    write_lists(pets, ["pug_1", "pug_2", "Bengal_1", "pug_4"], ["pug_3"])
    result = ingest(pets, tmp_path / "w", "--max-quarantine", "0.5")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"wrote {tmp_path}/w/data/span-1",
        "6 photos found = 4 ingested (3 train + 1 eval) + 2 quarantined",
        "  1 not_listed",
        "  1 undecodable_photo",
    ]


def test_ingesting_again_says_that_nothing_is_new(tmp_path, pets):
    ingest(pets, tmp_path / "w")
    result = ingest(pets, tmp_path / "w")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"nothing new, the same input is in {tmp_path}/w/data/span-1"
    assert "4 photos found = 4 ingested (3 train + 1 eval) + 0 quarantined" in result.stdout


def test_a_span_number_that_is_taken_is_exit_status_2(tmp_path, pets):
    ingest(pets, tmp_path / "w", "--span", "3")
    write_pair(pets, "pug_1", seed=50)
    result = ingest(pets, tmp_path / "w", "--span", "3")
    assert result.exit_code == 2
    assert "--span 3: exists with other input" in sentence(result)


def test_too_many_quarantined_photos_are_exit_status_3(tmp_path, pets):
    (pets / "annotations" / "trimaps" / "pug_1.png").unlink()
    result = ingest(pets, tmp_path / "w")
    assert result.exit_code == 3
    assert "1 of 4 photos are quarantined (1 no_mask)" in sentence(result)


def test_a_workspace_in_use_is_exit_status_1_and_names_the_holder(tmp_path, pets):
    with Workspace.at(str(tmp_path / "w")).writer("run"):
        result = ingest(pets, tmp_path / "w")
        # Readers need no lock.
        assert segpipe("status", "--workspace", tmp_path / "w").exit_code == 0
    assert result.exit_code == 1
    assert f"is in use by segpipe run (process {os.getpid()})" in sentence(result)
    assert ingest(pets, tmp_path / "w").exit_code == 0


def test_ingest_tells_its_result_as_json_and_nothing_else(tmp_path, pets):
    (pets / "annotations" / "trimaps" / "pug_1.png").unlink()
    result = ingest(pets, tmp_path / "w", "--max-quarantine", "0.5", "--json")
    assert json.loads(result.stdout) == {
        "written": True,
        "folder": f"{tmp_path}/w/data/span-1",
        "span": 1,
        "photos_found": 4,
        "duplicates": {},
        "quarantined": {"no_mask": 1},
        "train": 2,
        "eval": 1,
    }
    assert result.stderr == ""
    again = json.loads(ingest(pets, tmp_path / "w", "--max-quarantine", "0.5", "--json").stdout)
    assert (again["written"], again["span"]) == (False, 1)


@pytest.mark.parametrize(
    "arguments, status, told",
    [
        (["run", "--json"], 2, "holds no span"),
        (["tune", "--json"], 2, "holds no span"),
        (["report", "--json"], 2, "no run in"),
        (["diff", "a", "b", "--json"], 2, "no run in"),
        (["bless", "latest", "--reason", "r", "--json"], 2, "no run in"),
        (["ingest", "--images", "gone", "--masks", ".", "--json"], 2, "--images gone"),
        (["run", "--config", "gone.yaml", "--json"], 2, "gone.yaml"),
    ],
)
def test_with_json_an_error_is_json_too_and_the_exit_status_stays(tmp_path, monkeypatch, arguments, status, told):
    monkeypatch.chdir(tmp_path)
    result = segpipe(*arguments, "--workspace", tmp_path / "w")
    error = json.loads(result.stdout)
    assert (result.exit_code, error["exit_status"]) == (status, status)
    assert told in error["error"] and sentence(result) == f"segpipe: {error['error']}"


@pytest.fixture
def recorded(tmp_path) -> Store:
    store = Store(tmp_path)
    for run, version in (("r1", "16"), ("r2", "17")):
        evaluated(store, run, GOOD)
        pushed(store, run, version=version)
    (tmp_path / "serving_model" / "17").mkdir(parents=True)
    return store


def test_status_says_which_version_is_live(recorded):
    result = segpipe("status", "--workspace", recorded.folder)
    assert "17 (live)" in result.stdout
    assert result.stdout.splitlines()[-1] == "live is version 17"


def test_a_run_that_is_not_there_is_named_with_exit_status_2(recorded):
    for arguments in (["report", "r9"], ["diff", "r1", "r9"]):
        result = segpipe(*arguments, "--workspace", recorded.folder)
        assert result.exit_code == 2
        assert "RUN r9: no such run; segpipe status" in sentence(result)


def test_report_makes_the_page_of_any_run_and_prints_its_path(recorded):
    for run, name in (("r1", ["r1"]), ("r2", [])):
        result = segpipe("report", *name, "--workspace", recorded.folder)
        page = recorded.folder / "reports" / run / "report.html"
        assert result.stdout == f"{page}\n"
        assert "<h1>Pushed as version" in page.read_text()


def test_report_opens_the_page_on_demand_and_says_if_it_cannot(recorded, monkeypatch):
    opened = []
    monkeypatch.setattr("click.launch", lambda page: opened.append(page) or len(opened) - 1)
    first = segpipe("report", "--open", "--workspace", recorded.folder)
    assert opened == [first.stdout.strip()] and first.stderr == ""
    assert "no browser could be started" in segpipe("report", "--open", "--workspace", recorded.folder).stderr


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("arguments", [["status"], ["diff", "r1", "r2"]])
def test_what_is_piped_holds_no_colours(recorded, arguments, environment):
    command = [Path(sys.executable).parent / "segpipe", *arguments, "--workspace", recorded.folder]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "COLUMNS": "80", **environment})
    assert b"\x1b" not in done.stdout + done.stderr
    assert all(len(line) < 200 for line in done.stdout.decode().splitlines())


def test_on_a_terminal_verdicts_are_coloured_unless_told_not_to(recorded):
    """Under `script`, which gives the command a terminal of its own."""
    command = f"{Path(sys.executable).parent / 'segpipe'} status --workspace {recorded.folder}"
    green = b"\x1b[32m"
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        given = {**os.environ, "TERM": "xterm-256color", **environment}
        done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, env=given, check=True)
        assert (green in done.stdout) == coloured
        assert b"pushed" in done.stdout


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_status_of_a_workspace_without_runs(tmp_path, make):
    workspace = tmp_path / "w"
    if make:
        workspace.mkdir()
    result = segpipe("status", "--workspace", workspace)
    assert (result.exit_code, result.stdout) == (0, f"no run in {workspace} yet\n")
    result = segpipe("status", "--workspace", workspace, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"live_version": None, "schedule": None, "runs": []})
    # Looking makes nothing.
    assert list(tmp_path.rglob("*")) == ([workspace] if make else [])


def test_status_of_a_damaged_database_is_one_sentence_with_exit_status_1(tmp_path):
    save(tmp_path / "w" / "metadata.db", b"this is no database at all" * 100)
    result = segpipe("status", "--workspace", tmp_path / "w")
    assert result.exit_code == 1
    assert f"{tmp_path}/w/metadata.db: is damaged (file is not a database)" in sentence(result)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """A workspace in which version 5 of a model of pets is live: dark is pet, bright is contour."""
    workspace = tmp_path_factory.mktemp("served")
    write_brightness_model(workspace / "serving_model" / "5", FeatureSpec(height=32, width=48))
    return workspace


def photo(path: Path) -> Path:
    return save(path, np.repeat(halves(20, 230)[..., np.newaxis], 3, axis=-1))


def test_predict_writes_masks_and_says_how_many(tmp_path, served):
    result = segpipe("predict", photo(tmp_path / "a.jpg"), "--output", tmp_path / "o", "--workspace", served)
    assert (result.exit_code, result.stdout) == (0, f"wrote 1 masks and overlays to {tmp_path}/o\n")
    written = sorted(str(path.relative_to(tmp_path / "o")) for path in tmp_path.glob("o/*/*"))
    assert written == ["masks/a.png", "overlays/a.png"]


def test_a_broken_photo_is_named_and_skipped_with_exit_status_1(tmp_path, served):
    photo(tmp_path / "photos" / "a.jpg")
    broken = save(tmp_path / "photos" / "b.jpg", b"no photo")
    result = segpipe("predict", tmp_path / "photos", "--output", tmp_path / "o", "--workspace", served)
    assert result.exit_code == 1
    assert sentence(result).startswith(f"segpipe: {broken}: undecodable_photo: ")
    assert result.stdout == f"wrote 1 masks and overlays to {tmp_path}/o\n"
    assert os.listdir(tmp_path / "o" / "masks") == ["a.png"]


def test_predict_prints_what_it_found_as_json(tmp_path, served):
    photo(tmp_path / "photos" / "a.jpg")
    broken = save(tmp_path / "photos" / "b.jpg", b"no photo")
    arguments = ("predict", tmp_path / "photos", "--output", tmp_path / "o", "--workspace", served)
    result = segpipe(*arguments, "--json", "--no-overlays")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["model_version"], list(found["skipped"])) == (5, [str(broken)])
    (one,) = found["photos"]
    shares = one.pop("class_shares")
    assert one == {
        "file": str(tmp_path / "photos" / "a.jpg"),
        "mask": "masks/a.png",
        "overlay": None,
        "height": 40,
        "width": 56,
    }
    # Dark is pet, bright is contour, and the photo is half and half.
    assert shares == pytest.approx({"pet": 0.5, "background": 0.0, "contour": 0.5}, abs=0.1)


def test_a_version_that_is_not_served_is_named_beside_those_that_are(tmp_path, served):
    arguments = ("predict", photo(tmp_path / "a.jpg"), "--output", tmp_path / "o", "--workspace", served)
    result = segpipe(*arguments, "--version", "6")
    assert result.exit_code == 2
    assert "--version 6: not in" in sentence(result) and "[5]" in sentence(result)
    assert segpipe(*arguments, "--version", "5").exit_code == 0


def test_a_folder_that_only_looks_like_a_version_is_named(tmp_path):
    (tmp_path / "w" / "serving_model" / "7").mkdir(parents=True)
    arguments = ("predict", photo(tmp_path / "a.jpg"), "--output", tmp_path / "o", "--workspace", tmp_path / "w")
    result = segpipe(*arguments)
    assert result.exit_code == 2
    assert "serving_model/7: is no model that segpipe exported" in sentence(result)


def test_data_max_pixels_holds_for_predict(tmp_path, served):
    config = save(tmp_path / "own.yaml", b"data: {max_pixels: 2239}")
    arguments = ("predict", photo(tmp_path / "a.jpg"), "--output", tmp_path / "o", "--workspace", served)
    result = segpipe(*arguments, "--config", config)
    assert result.exit_code == 1
    assert "oversized_photo" in sentence(result)
