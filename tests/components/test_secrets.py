"""`${NAME}` in a config, and addresses that are told without their passwords."""

import pytest

from components.errors import UsageError
from components.secrets import resolved, shown


@pytest.mark.parametrize(
    "text, value",
    [
        ("plain", "plain"),
        ("${A}", "one"),
        ("https://ana:${A}@host/${B}/x", "https://ana:one@host/two/x"),
        ("$A ${ A} $${A}", "$A ${ A} $one"),
        ("${C}", "${A}"),
    ],
)
def test_a_name_becomes_its_value_once(monkeypatch, text, value):
    for name, content in {"A": "one", "B": "two", "C": "${A}"}.items():
        monkeypatch.setenv(name, content)
    assert resolved(text, "field") == value


def test_a_variable_that_is_not_set_is_named_with_its_field(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(UsageError, match=r"beam: the environment variable NOT_SET is not set; set it or drop"):
        resolved("--x=${NOT_SET}", "beam")


@pytest.mark.parametrize(
    "text, told",
    [
        ("https://ana:pw@host/a", "https://host/a"),
        ("'http://:p@h:80/' and ftp://u@h", "'http://h:80/' and ftp://h"),
        ("https://host/a@b", "https://host/a@b"),
        ("ana@host", "ana@host"),
    ],
)
def test_an_address_is_told_without_who_and_password(text, told):
    assert shown(text) == told
