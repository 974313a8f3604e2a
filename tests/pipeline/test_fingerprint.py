"""Fingerprints: an edit changes those of the modules that import it, and no others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.fingerprint import fingerprint, import_closure

REPOSITORY = Path(__file__).parents[2]
TREE = {
    "trainer/__init__.py": "",
    "trainer/top.py": "import os, numpy\nfrom trainer import middle\nimport not_installed_anywhere\n",
    "trainer/middle.py": "def late():\n    from trainer.bottom import VALUE\n    import trainer.circle\n",
    "trainer/bottom.py": "VALUE = 1\n",
    "trainer/circle.py": "import trainer.middle\n",
    "trainer/beside.py": "from trainer.bottom import VALUE\n",
    "trainer/alone.py": "",
    "schema/__init__.py": "FILE = 'schema.pbtxt'\n",
    "trainer/reader.py": "from schema import FILE\n",
}
"""A package that shadows the real one: imports at the top, inside a function, of a name, of a module, in a circle."""

PRINT = """
import json
from pipeline.fingerprint import fingerprint
names = ["top", "middle", "bottom", "circle", "beside", "alone", "reader"]
print(json.dumps({name: fingerprint("trainer." + name) for name in names}))
"""


def fingerprints(folder: Path) -> dict[str, str]:
    """Of all modules of the tree, in a fresh process: within one, a fingerprint is computed once."""
    # The folder comes first on the path of `python -c`, so that its `trainer` hides the real one.
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture
def tree(tmp_path) -> Path:
    for name, source in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    "edited, changed",
    [
        ("trainer/alone.py", {"alone"}),
        ("trainer/top.py", {"top"}),
        ("trainer/beside.py", {"beside"}),
        ("trainer/bottom.py", {"bottom", "middle", "circle", "top", "beside"}),
        ("trainer/circle.py", {"circle", "middle", "top"}),
        ("trainer/middle.py", {"circle", "middle", "top"}),
        ("schema/__init__.py", {"reader"}),
    ],
)
def test_an_edit_changes_what_imports_it_and_nothing_else(tree, edited, changed):
    before = fingerprints(tree)
    (tree / edited).write_text(TREE[edited] + "EDITED = True\n")
    after = fingerprints(tree)
    assert {name for name in after if after[name] != before[name]} == changed


def test_the_same_source_has_the_same_fingerprint_in_any_folder_and_process(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, source in TREE.items():
        (elsewhere / name).parent.mkdir(exist_ok=True)
        (elsewhere / name).write_text(source)
    assert fingerprints(tree) == fingerprints(elsewhere)


def test_undoing_an_edit_brings_the_fingerprint_back(tree):
    before = fingerprints(tree)
    (tree / "trainer/bottom.py").write_text("VALUE = 2\n")
    assert fingerprints(tree) != before
    (tree / "trainer/bottom.py").write_text(TREE["trainer/bottom.py"])
    assert fingerprints(tree) == before


@pytest.mark.parametrize(
    "module, needs, needs_not",
    [
        ("trainer.preprocessing", "trainer.features", "trainer.model"),
        ("trainer.preprocessing", "trainer.features", "trainer.loop"),
        ("trainer.train", "trainer.preprocessing", "trainer.metrics"),
        ("trainer.train", "trainer.model", "components.pusher.executor"),
        ("components.evaluator.executor", "trainer.metrics", "trainer.model"),
        ("components.evaluator.executor", "trainer.confusion", "trainer.train"),
        ("components.pusher.executor", "components.pusher.versions", "trainer.preprocessing"),
        ("components.example_gen.executor", "components.ingest.spans", "components.ingest.reader"),
        ("components.anomaly_gate.executor", "components.anomaly_gate.anomalies", "trainer.preprocessing"),
    ],
)
def test_a_node_depends_on_its_own_code_and_not_on_its_neighbours(module, needs, needs_not):
    # A change of the net must not transform again, and one of the pusher must not train again.
    closure = import_closure(module)
    assert {module, needs} <= closure
    assert needs_not not in closure


def test_only_this_projects_modules_are_followed():
    closure = import_closure("trainer.train")
    assert {name.split(".")[0] for name in closure} <= {"pipeline", "components", "trainer", "schema"}


def test_a_fingerprint_is_short_and_hexadecimal():
    assert len(fingerprint("trainer.features")) == 16
    assert int(fingerprint("trainer.features"), 16)
