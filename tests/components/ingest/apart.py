"""Ingests folders in a process of its own, without root's rights, and prints what came of each as JSON.

python apart.py WARM SOURCE...

WARM is ingested first, so that everything is loaded before the process gives root up for good. A folder FOLDER of the
Oxford layout is ingested into FOLDER/data. `grown_mib` is by how much the peak of memory so far exceeds what was in use
before.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from components.errors import SegpipeError
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec

NOBODY = 65534


def run(source: Path):
    annotations = source / "annotations"
    return ingest(
        str(source / "data"),
        str(source / "images"),
        str(annotations / "trimaps"),
        FeatureSpec(),
        DataSettings(max_quarantine=0.9),
        split_lists=str(annotations),
    )


def memory_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def told_of(source: Path) -> dict:
    before = memory_mib("VmRSS")
    try:
        manifest = run(source).manifest
    except SegpipeError as error:
        return {"refused": str(error)}
    grown = memory_mib("VmHWM") - before
    return {"quarantined": manifest.quarantined, "ingested": manifest.ingested, "grown_mib": grown}


def main() -> None:
    warm, *sources = map(Path, sys.argv[1:])
    told = {warm.name: told_of(warm)}
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    print(json.dumps(told | {source.name: told_of(source) for source in sources}))


main()
