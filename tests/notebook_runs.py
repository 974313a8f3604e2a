"""Executes a notebook of the repository as Jupyter does, in a kernel of its own.

done = execute("data_validation", workspace)
texts(done), pictures(done)
"""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def execute(name: str, workspace: Path) -> nbformat.NotebookNode:
    """Runs every cell on a workspace; one that raises fails the test with its traceback."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": FOLDER}})
    return client.execute(env={**os.environ, "SEGPIPE_WORKSPACE": str(workspace)})


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def texts(notebook: nbformat.NotebookNode) -> str:
    """Everything that cells printed or show as text or HTML."""
    shown = []
    for output in _outputs(notebook):
        data = output.get("data", {})
        shown += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(shown)


def pictures(notebook: nbformat.NotebookNode) -> list[str]:
    """The figures, as base64 of PNG."""
    return [output.data["image/png"] for output in _outputs(notebook) if "image/png" in output.get("data", {})]
