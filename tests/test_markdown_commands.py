"""The reader of Markdown commands itself, and that the pages use it right."""

import re
from pathlib import Path

import pytest
from markdown_commands import missing_line, read_blocks

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")))]

_PAGE = """Text.

```sh
echo one
echo two
```

```text
one
t...o
```

```sh cloud
submit
```

Between.

```text
not promised
```
"""


def _page(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def test_commands_marks_and_promises_are_read(tmp_path):
    first, second = read_blocks(_page(tmp_path, _PAGE), "page.md")
    assert (str(first), first.commands, first.mark) == ("page.md:3", "echo one\necho two", "")
    assert first.promised == ("one", "t...o")
    assert (second.mark, second.promised) == ("cloud", ())


def test_an_unknown_mark_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="page.md:1: 'clod' is no mark"):
        read_blocks(_page(tmp_path, "```sh clod\nls\n```\n"), "page.md")


@pytest.mark.parametrize(
    ("promised", "missing"),
    [
        (("one", "two"), None),
        (("wrote ... photos",), None),
        (("two", "one"), "one"),
        (("three",), "three"),
        (("a.b",), "a.b"),
    ],
)
def test_promised_lines_must_come_in_order(promised, missing):
    assert missing_line(promised, "one\nwrote   17 photos to x\ntwo\naxb\n") == missing


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_read_and_its_links_lead_somewhere(page):
    path = REPOSITORY / page
    read_blocks(path, page)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert re.match(r"https?:", target) or (path.parent / target).exists(), f"{page}: {target}"
