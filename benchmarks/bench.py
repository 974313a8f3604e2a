"""All that is measured of speed and memory, one table: `make bench [DATA=<folder>] [WORKSPACE=<run before>]`.

Every row stands beside what it is compared with in the same run. About half an hour on two cores, and another with
`LARGE=1`, which adds 60,000 photos. What each row means is told at the head of the script that measures it.
"""

import os
import subprocess
import sys
import tempfile
import time

import click
from figures import print_table, read

HERE = os.path.dirname(os.path.abspath(__file__))


@click.command()
@click.option("--data", help="Folder with images/ and annotations/; drawn photos if left out.")
@click.option("--workspace", required=True, help="It has had a run whose model was pushed.")
@click.option("--large", is_flag=True, help="Memory and time at 60,000 photos, too.")
def main(data: str | None, workspace: str, large: bool) -> None:
    """Runs each script in a process of its own and prints their rows together."""
    photos = ["--photos", f"{data}/images"] if data else []
    sizes = (600, 6000, 60000) if large else (600, 6000)
    scripts = [
        ["ingest_speed.py", *(["--data", data] if data else [])],
        *([["ingest_speed.py", "--data", data, "--copies", "42", "--only-cores", "--rounds", "1"]] if data else []),
        ["ingest_speed.py", "--photos", "20000" if large else "3000", "--rounds", "1"],
        ["stage_speed.py"],
        *([["stage_speed.py", "--data", data]] if data else []),
        ["training_speed.py", workspace],
        ["training_choices.py", workspace, "--rounds", "1"],
        ["startup.py"],
        ["serving_load.py", workspace, *photos, "--requests", "500"],
        ["memory.py", *(f"--photos={size}" for size in sizes)],
    ]
    with tempfile.TemporaryDirectory() as folder:
        figures = os.path.join(folder, "figures.jsonl")
        for script, *options in scripts:
            started = time.perf_counter()
            command = [sys.executable, os.path.join(HERE, script), *options, "--figures", figures]
            subprocess.run(command, check=True)
            click.echo(f"{script}: {time.perf_counter() - started:.0f} s", err=True)
        print_table(read(figures))


if __name__ == "__main__":
    main()
