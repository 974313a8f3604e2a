"""Executes a Dockerfile's build steps in roots of a Debian, since no container engine is at hand.

    image = Builder({"debian:trixie-slim": base}, context, folder).build("cpu")
    image.run(["segpipe", "--help"])

What it assumes of an engine: a stage starts with the files, variables, user and folder of the one it is made from; only
the stages that a target needs are built; `RUN` goes to /bin/sh; `COPY` of a folder copies what is in it, for root, and
leaves out what .dockerignore names. An instruction or option that it does not implement is refused.
"""

import fnmatch
import itertools
import json
import re
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from debian_root import Root

_FROM = re.compile(r"(\S+) AS ([a-z][\w-]*)")
_INSTRUCTIONS = {"CMD": (), "COPY": ("--from=",), "ENV": (), "RUN": (), "USER": (), "WORKDIR": ()}
"""Each with its options."""


@dataclass
class Stage:
    """A stage of a Dockerfile.

    Attributes:
      base: an image or an earlier stage.
      steps: (instruction, its text), in order.
    """

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def read_dockerfile(text: str) -> dict[str, Stage]:
    """The stages by name, in order.

    Raises:
      ValueError: at an instruction or option that is not implemented.
    """
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages: dict[str, Stage] = {}
    for line in filter(str.strip, lines.replace("\\\n", " ").splitlines()):
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            named = _FROM.fullmatch(rest)
            if named is None:
                raise ValueError(f"{line}: only FROM IMAGE AS NAME is implemented")
            stages[named[2]] = Stage(named[1])
            continue
        if instruction not in _INSTRUCTIONS:
            raise ValueError(f"{line}: {instruction} is not implemented")
        if any(not option.startswith(_INSTRUCTIONS[instruction]) for option in _options(rest)):
            raise ValueError(f"{line}: an option of {instruction} is not implemented")
        if instruction == "RUN" and "<<" in rest:
            raise ValueError(f"{line}: here-documents are not implemented")
        if "$" in rest and instruction != "RUN":
            raise ValueError(f"{line}: variables are implemented in RUN alone")
        list(stages.values())[-1].steps.append((instruction, rest))
    return stages


def _options(text: str) -> list[str]:
    """The options between an instruction and its arguments."""
    return list(itertools.takewhile(lambda word: word.startswith("--"), text.split()))


@dataclass(frozen=True)
class Image:
    """A stage that was built.

    Attributes:
      root: its files.
      environment, user, folder, command: what a container of it starts with.
    """

    root: Root
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder: str = "/"
    command: tuple[str, ...] = ()

    def start(self, command: list[str], binds: tuple[Path, ...] = ()) -> list[str]:
        """What runs a command in a container of it."""
        environment = {"HOME": self._home()} | self.environment
        return self.root.command(command, environment, self.user, self.folder, binds)

    def _home(self) -> str:
        number = self.user.partition(":")[0]
        entries = [line.split(":") for line in (self.root.path / "etc/passwd").read_text().splitlines()]
        return next((entry[5] for entry in entries if entry[2] == number), "/")


class Builder:
    """Builds stages.

    Args:
      images: name -> folder with its files.
      context: folder that `COPY` takes from; with a Dockerfile and a .dockerignore.
      folder: where the stages' files go.
    """

    def __init__(self, images: dict[str, Path], context: Path, folder: Path):
        self._images, self._context, self._folder = images, context, folder
        self._stages = read_dockerfile((context / "Dockerfile").read_text())
        self._built: dict[str, Image] = {}

    def build(self, name: str) -> Image:
        """The image of a stage, with all that it needs."""
        if name not in self._built:
            stage = self._stages[name]
            base = self.build(stage.base) if stage.base in self._stages else Image(Root(self._images[stage.base]))
            image = replace(base, root=Root.copy_of(base.root.path, self._folder / name))
            for instruction, text in stage.steps:
                image = getattr(self, f"_{instruction.lower()}")(image, text)
            self._built[name] = image
        return self._built[name]

    def _run(self, image: Image, text: str) -> Image:
        environment = {"HOME": "/root"} | image.environment
        image.root.run(["/bin/sh", "-c", text], environment=environment, user=image.user, folder=image.folder)
        return image

    def _env(self, image: Image, text: str) -> Image:
        return replace(image, environment=image.environment | dict(pair.split("=", 1) for pair in shlex.split(text)))

    def _workdir(self, image: Image, text: str) -> Image:
        folder = str(Path(image.folder, text))
        _below(image, folder).mkdir(parents=True, exist_ok=True)
        return replace(image, folder=folder)

    def _user(self, image: Image, text: str) -> Image:
        if not re.fullmatch(r"\d+:\d+", text):
            raise ValueError(f"USER {text}: only numbers of user and group are implemented")
        return replace(image, user=text)

    def _cmd(self, image: Image, text: str) -> Image:
        return replace(image, command=tuple(json.loads(text)))

    def _copy(self, image: Image, text: str) -> Image:
        options = _options(text)
        *sources, target = text.split()[len(options) :]
        origin = self.build(options[0].partition("=")[2]).root.path if options else self._context
        into = _below(image, str(Path(image.folder, target)))
        for name in sources:
            source = origin / name.lstrip("/")
            if not options and self._is_ignored(source):
                raise FileNotFoundError(f"COPY {text}: .dockerignore leaves out {name}")
            if source.is_dir():
                ignore = (
                    None if options else lambda folder, names: [n for n in names if self._is_ignored(Path(folder, n))]
                )
                shutil.copytree(source, into, symlinks=True, dirs_exist_ok=True, ignore=ignore)
            elif target.endswith("/"):
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, into)
            elif len(sources) == 1:
                shutil.copy(source, into)
            else:
                raise ValueError(f"COPY {text}: several files need a target that ends in /")
        return image

    def _is_ignored(self, path: Path) -> bool:
        """Whether the last pattern of .dockerignore that fits the path leaves it out."""
        names, ignored = path.relative_to(self._context).as_posix().split("/"), False
        for pattern in (self._context / ".dockerignore").read_text().split("\n"):
            if pattern.strip() and not pattern.startswith("#"):
                plain = pattern.lstrip("!")
                fits = (
                    any(fnmatch.fnmatch(name, plain.removeprefix("**/")) for name in names)
                    if plain.startswith("**/")
                    else fnmatch.fnmatch(names[0], plain)
                )
                ignored = not pattern.startswith("!") if fits else ignored
        return ignored


def _below(image: Image, path: str) -> Path:
    return image.root.path / path.lstrip("/")
