"""Each message that docs/troubleshooting.md explains is one that the code can still print."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "troubleshooting.md"
PACKAGES = ("pipeline", "components", "trainer", "tools")


def _messages() -> list[str]:
    """Every message that a row of the page opens with; `...` stands for what differs."""
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def _texts(tree: ast.AST) -> list[str]:
    """String literals, f-strings with a NUL for each value."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@pytest.fixture(scope="module")
def sources() -> list[str]:
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    texts = [text for path in files for text in _texts(ast.parse(path.read_text(encoding="utf-8")))]
    return texts + [path.read_text(encoding="utf-8") for path in (REPOSITORY / "tools").glob("*.sh")]


def test_the_page_explains_messages():
    assert len(_messages()) >= 20


@pytest.mark.parametrize("message", _messages())
def test_a_message_is_one_that_the_code_prints(message, sources):
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("...") if part), re.DOTALL)
    assert any(pattern.search(text) for text in sources), message
