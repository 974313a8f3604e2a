"""Reads the commands out of Markdown pages, so that a test can run what a reader would type.

A fence that opens with `sh` holds commands; words behind it say where they run:

    sh              in a fresh clone, in the order of the page; what it leaves running is ended with the last page
    sh data         needs photos of the reader's own
    sh cloud        needs a cloud account or a container engine
    sh long         takes long, or is what runs this very test
    sh example      wants a state that the page does not make; other tests run the command

A `text` fence right behind it is what the commands print: each of its lines must come in this order, `...` stands for
anything.
"""

import re
from dataclasses import dataclass
from pathlib import Path

NOT_RUN = {
    "data": "needs photos of the reader's own",
    "cloud": "needs a cloud account or a container engine",
    "long": "takes long, or is what runs this very test",
    "example": "wants a state that the page does not make",
}
_FENCE = re.compile(r"^```(.*)$")


@dataclass(frozen=True)
class Block:
    """Commands of a page, and the lines that the page says they print."""

    page: str
    line: int
    commands: str
    mark: str
    promised: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(path: Path, page: str) -> list[Block]:
    """The command blocks of a page, in order.

    Raises:
      ValueError: if a block has a mark that nobody knows.
    """
    fences = _fences(path.read_text(encoding="utf-8"))
    blocks = []
    for index, (line, end, info, body) in enumerate(fences):
        kind, _, mark = info.partition(" ")
        if kind != "sh":
            continue
        if mark not in ("", *NOT_RUN):
            raise ValueError(f"{page}:{line}: {mark!r} is no mark of a command block; use {', '.join(NOT_RUN)}")
        following = fences[index + 1] if index + 1 < len(fences) else None
        # Only a blank line may stand between commands and what they print.
        shown = following is not None and following[2] == "text" and following[0] - end <= 2
        blocks.append(Block(page, line, body, mark, tuple(following[3].splitlines()) if shown else ()))
    return blocks


def _fences(text: str) -> list[tuple[int, int, str, str]]:
    """First line, last line, info string and body of each fenced block."""
    fences, start, info, body = [], None, "", []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and start is None:
            start, info, body = number, fence[1].strip(), []
        elif fence:
            fences.append((start, number, info, "\n".join(body)))
            start = None
        elif start is not None:
            body.append(line)
    return fences


def missing_line(promised: tuple[str, ...], output: str) -> str | None:
    """The first promised line that the output does not hold behind those before it, or None."""
    lines = iter(output.splitlines())
    for wanted in promised:
        pattern = ".*".join(re.escape(part) for part in " ".join(wanted.split()).split("..."))
        if not any(re.search(pattern, " ".join(line.split())) for line in lines):
            return wanted
    return None
