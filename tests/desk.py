"""What the tests of services elsewhere share: a config and the command line on it, for one engine."""

from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.workspace import Workspace


class Desk:
    """The commands of an engine, on a workspace that need not be there.

    Attributes:
      folder: holds workspace and config.
      engine: its name.
      section: of the config, for that engine; a test edits it.
    """

    def __init__(self, folder: Path, engine: str, section: dict):
        self.folder, self.engine, self.section = folder, engine, section
        self.workspace = Workspace.at(str(folder / "workspace"))

    @property
    def config(self) -> Path:
        path = self.folder / "own.yaml"
        path.write_text(yaml.safe_dump({self.engine: self.section}))
        return path

    def submit(self, *arguments: str, status: int = 0) -> Result:
        return self._segpipe("submit", arguments, status)

    def schedule(self, *arguments: str, status: int = 0) -> Result:
        return self._segpipe("schedule", arguments, status)

    def _segpipe(self, command: str, arguments: tuple[str, ...], status: int) -> Result:
        """Runs a command and insists on its exit status, and on one sentence where that is not 0."""
        own = ["--engine", self.engine, "--workspace", self.workspace.root, "--config", str(self.config)]
        done = CliRunner().invoke(main, [command, *own, *arguments])
        assert done.exit_code == status, done.output
        if status:
            assert done.stderr.startswith("segpipe: ") and len(done.stderr.splitlines()) == 1, done.stderr
        return done
