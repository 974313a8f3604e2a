"""`segpipe ingest` as the command runs it."""

import os
import subprocess
import sys

import pytest
from drawing import write_pets

TRAIN, TEST = [f"pug_{number}" for number in range(6)], [f"Bengal_{number}" for number in range(2)]
# What `segpipe` does, but for the number of photos that pays for a process.
COMMAND = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from components import machine
from components.ingest import workers
from pipeline.cli import main

class Noting(ProcessPoolExecutor):
    def __init__(self, further, *rest, **named):
        print("further processes:", further)
        super().__init__(further, *rest, **named)

if __name__ == "__main__":
    workers._PHOTOS_PER_PROCESS = int(sys.argv.pop(1))
    machine.usable_cores = lambda: 8
    workers.ProcessPoolExecutor = Noting
    main()
"""


@pytest.mark.parametrize(("of_a_process", "further"), [(5, 0), (4, 1)])
def test_as_many_photos_as_two_processes_take_are_ingested_by_two(tmp_path, of_a_process, further):
    source = write_pets(tmp_path / "source", TRAIN, TEST)
    command = tmp_path / "command.py"
    command.write_text(COMMAND)
    folders = ["--images", f"{source}/images", "--masks", f"{source}/annotations/trimaps"]
    lists = ["--split-lists", f"{source}/annotations", "--workspace", str(tmp_path / "workspace")]
    arguments = [sys.executable, command, str(of_a_process), "ingest", *folders, *lists]
    done = subprocess.run(arguments, env=os.environ | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "8 photos found = 8 ingested (6 train + 2 eval) + 0 quarantined" in done.stdout
    assert ("further processes: 1" in done.stdout) == bool(further)
    # What further processes say would stand in the middle of what the command says.
    assert done.stderr == ""
