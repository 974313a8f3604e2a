"""Makes a workspace with one TFX, for a test that opens it with another.

    make(folder)        # folder/workspace, folder/config.yaml and folder/status.json, what `segpipe status` said of it

Artifacts are recorded under absolute paths, so the folder must not be moved.
"""

import json
from pathlib import Path

from workbench import Bench, drawn

OLDER = "SEGPIPE_OLDER"
"""The variable that names the folder to the test."""
STATUS = "status.json"


def make(folder: Path) -> None:
    """Draws photos, ingests them and runs the pipeline up to a pushed model."""
    folder.mkdir(parents=True)
    bench = Bench(folder)
    bench.ingest(drawn(folder / "drawn"))
    bench.run()
    (folder / STATUS).write_text(json.dumps(bench.status()))
