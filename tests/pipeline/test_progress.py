"""Progress: a line per component on the terminal, all else in the log."""

import io
import logging as std_logging
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from absl import logging
from rich.console import Console

from pipeline import progress
from pipeline.progress import RunProgress
from trainer.notes import note

RUNNING, FINISHED, CACHED = "Component %s is running.", "Component %s is finished.", "A cached execution %d is used."
BEAM_RUNNING, BEAM_FINISHED = "node %s is running.", "node %s is finished."


@pytest.fixture
def verbose():
    """absl at the level that a run sets."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.INFO)
    yield
    logging.set_verbosity(before)


def follow(*messages: tuple, quiet: bool = False, did=lambda node: "") -> tuple[list[str], RunProgress]:
    """Logs messages as TFX does; returns the lines on the terminal."""
    terminal = io.StringIO()
    with RunProgress(Console(file=terminal, width=100), quiet, did) as shown:
        shown.listen()
        for message in messages:
            logging.info(*message)
    return terminal.getvalue().splitlines(), shown


def test_a_component_that_worked_shows_its_seconds(verbose):
    lines, _ = follow((RUNNING, "Transform"), (FINISHED, "Transform"))
    assert len(lines) == 1
    assert re.fullmatch(r"✓ Transform +\d+\.\d s", lines[0])


def test_a_component_from_the_cache_says_so_and_the_next_does_not(verbose):
    lines, _ = follow(
        (RUNNING, "Transform"), (CACHED, 7), (FINISHED, "Transform"), (RUNNING, "Trainer"), (FINISHED, "Trainer")
    )
    assert [line.split() for line in lines][0] == ["✓", "Transform", "cached"]
    assert lines[1].split()[:2] == ["✓", "Trainer"] and lines[1].endswith(" s")


def test_a_component_that_is_done_says_what_it_did_whether_it_worked_or_was_cached(verbose):
    said = {"Transform": "478 photos", "Trainer": "1,014 steps"}.get
    lines, _ = follow(
        (RUNNING, "Transform"), (CACHED, 7), (FINISHED, "Transform"), (RUNNING, "Trainer"), (FINISHED, "Trainer"),
        did=said,
    )  # fmt: skip
    assert lines[0].split() == ["✓", "Transform", "478", "photos", "cached"]
    assert re.fullmatch(r"✓ Trainer +1,014 steps +\d+\.\d s", lines[1])


def test_a_record_that_cannot_be_read_costs_the_words_and_not_the_run(verbose):
    lines, _ = follow((RUNNING, "Trainer"), (FINISHED, "Trainer"), did={}.__getitem__)
    assert re.fullmatch(r"✓ Trainer +\d+\.\d s", lines[0])


@pytest.mark.parametrize("what", ["refused", "failed"])
def test_the_component_that_ended_a_run_is_shown_with_how(verbose, what):
    terminal = io.StringIO()
    with RunProgress(Console(file=terminal, width=100)) as shown:
        shown.listen()
        logging.info(RUNNING, "ModelCanary")
        shown.broke_off(what)
    assert terminal.getvalue().split() == ["✗", "ModelCanary", what]


def test_on_a_terminal_the_step_of_a_training_is_shown_while_it_goes_on(verbose):
    terminal = io.StringIO()
    with RunProgress(Console(file=terminal, width=100, force_terminal=True)) as shown:
        shown.listen()
        logging.info(RUNNING, "Trainer")
        logging.info("step %d of %d: loss %.3f, mean_iou %.3f", 1200, 3614, 0.41, 0.612)
        shown._live.refresh()
    assert "Trainer  step 1,200 of 3,614, mean IoU 0.612" in terminal.getvalue()


def test_the_trainer_still_logs_the_step_that_is_listened_for():
    import trainer.train

    assert f'"{progress._STEP}"' in Path(trainer.train.__file__).read_text()


def test_the_beam_runner_is_followed_too(verbose):
    lines, _ = follow((BEAM_RUNNING, "Trainer"), (CACHED, 1), (BEAM_FINISHED, "Trainer"))
    assert [line.split() for line in lines] == [["✓", "Trainer", "cached"]]


def test_a_note_of_the_trainer_is_shown_at_once_below_its_name(verbose):
    terminal = io.StringIO()
    with RunProgress(Console(file=terminal, width=60)) as shown:
        shown.listen()
        logging.info(RUNNING, "Trainer")
        note("resumed at step %d of %d from [here] " + 60 * "x", 40, 100)
        assert terminal.getvalue() == "  Trainer: resumed at step 40 of 100 from [here] " + 60 * "x" + "\n"


def test_quiet_shows_no_note(verbose):
    terminal = io.StringIO()
    with RunProgress(Console(file=terminal), quiet=True) as shown:
        shown.listen()
        note("resumed")
    assert terminal.getvalue() == ""


def test_everything_else_that_tfx_logs_is_left_to_the_log(verbose):
    lines, _ = follow(
        ("MetadataStore with DB connection initialized",), ("Going to run a new execution %d", 3), ("100%% done",)
    )
    assert lines == []


def test_the_component_that_was_running_is_known_when_the_run_breaks_off(verbose):
    _, shown = follow((RUNNING, "Transform"), (FINISHED, "Transform"), (RUNNING, "Trainer"))
    assert shown.node == "Trainer"
    _, shown = follow((RUNNING, "Transform"), (FINISHED, "Transform"))
    assert shown.node is None


def test_quiet_writes_nothing_and_still_knows_the_component(verbose):
    lines, shown = follow((RUNNING, "Transform"), (FINISHED, "Transform"), (RUNNING, "Trainer"), quiet=True)
    assert (lines, shown.node) == ([], "Trainer")


def test_a_name_with_brackets_is_printed_as_it_is(verbose):
    lines, _ = follow((RUNNING, "Model[red]"), (FINISHED, "Model[red]"))
    assert "Model[red]" in lines[0]


def test_a_run_that_is_over_is_no_longer_followed(verbose):
    follow((RUNNING, "Transform"))
    assert not [h for h in std_logging.getLogger("absl").handlers if isinstance(h, RunProgress)]


@pytest.mark.parametrize(
    "module, messages",
    [
        ("tfx/orchestration/local/local_dag_runner.py", (RUNNING, FINISHED)),
        ("tfx/orchestration/beam/beam_dag_runner.py", (BEAM_RUNNING, BEAM_FINISHED)),
        ("tfx/orchestration/portable/launcher.py", (CACHED,)),
    ],
)
def test_tfx_still_logs_what_is_listened_for(module, messages):
    # The format strings are no promise of TFX; without them the terminal would stay silent.
    source = Path(distribution("tfx").locate_file(module)).read_text()
    heard = {*progress._RUNNING, *progress._FINISHED, progress._CACHED}
    for message in messages:
        assert message in heard
        assert re.search(rf"""logging\.info\(\s*['"]{re.escape(message)}['"]""", source)


SCRIPT = """
import os, subprocess, sys
from pipeline.progress import output_to
print("before")
descriptors = len(os.listdir("/proc/self/fd"))
try:
    with output_to(sys.argv[1]) as console:
        print("python")
        print("python error", file=sys.stderr)
        os.write(1, b"native\\n")
        os.write(2, b"native error\\n")
        subprocess.run(["sh", "-c", "echo child; echo child error >&2"])
        console.print("for the person")
        if sys.argv[2] == "fails":
            raise RuntimeError("halfway")
except RuntimeError as error:
    print("after", error)
print("after")
print("after error", file=sys.stderr)
os.write(1, b"after native\\n")
"""
NOISE = ["child", "child error", "native", "native error", "python", "python error"]


@pytest.mark.parametrize("end, out", [("well", ["before", "after"]), ("fails", ["before", "after halfway", "after"])])
def test_all_output_goes_to_the_log_and_comes_back_afterwards(tmp_path, end, out):
    log = tmp_path / "logs" / "run.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log), end], capture_output=True, text=True, check=True, timeout=60
    )
    assert sorted(log.read_text().splitlines()) == NOISE
    assert sorted(done.stdout.splitlines()) == sorted([*out, "after native"])
    assert done.stderr.splitlines() == ["for the person", "after error"]


def test_a_second_run_adds_to_the_log(tmp_path):
    for _ in range(2):
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "log"), "well"], capture_output=True, check=True)
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(NOISE * 2)
