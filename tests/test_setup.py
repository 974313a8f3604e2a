"""What `make` sets up."""

import importlib.util
from pathlib import Path


def test_packages_are_compiled_once_and_not_by_every_process():
    # Importing what a run needs took 7.4 s without bytecode and 3.4 s with it.
    (folder,) = importlib.util.find_spec("tfx").submodule_search_locations
    modules = list(Path(folder).rglob("*.py"))
    missing = [str(m) for m in modules if not Path(importlib.util.cache_from_source(str(m))).is_file()]
    assert len(modules) > 500 and not missing
