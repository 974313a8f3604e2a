"""Tells a web address of what somebody should look at. Whether it listens changes nothing for the caller."""

from collections.abc import Callable
from urllib.parse import urlsplit

import requests

from components.errors import UsageError
from components.secrets import REFERENCE, resolved

FIELD = "--webhook"
_SECONDS = 10


def check_webhook(address: str) -> str:
    """Returns the address if it is one, and each `${NAME}` in it is set.

    Raises:
      UsageError: if not. The message shows the address as it was given, never a secret.
    """
    try:
        parts = urlsplit(resolved(address, FIELD))
        given = urlsplit(address)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname
    except ValueError:
        wrong = True
    if wrong:
        raise UsageError(f"{FIELD}: is no web address; begin it with https://")
    if given.password and not REFERENCE.fullmatch(given.password):
        raise UsageError(f"{FIELD}: holds a password; write '${{NAME}}' in its place and set that environment variable")
    return address


def post(address: str, event: dict, say: Callable[[str], None]) -> None:
    """Posts an event as JSON and says so if it cannot be delivered.

    Args:
      address: see `check_webhook`.
      event: what happened.
      say: takes a sentence, which holds no secret: neither what `${NAME}` stands for nor the path of the address,
        which is the secret of many services.
    """
    try:
        url = resolved(address, FIELD)
        # A redirection would make a GET of it.
        answer = requests.post(url, json=event, timeout=_SECONDS, allow_redirects=False)
        problem = None if answer.ok and not answer.is_redirect else f"it answered {answer.status_code}"
    except (requests.RequestException, UsageError, OSError, ValueError) as error:
        # The text of the error would hold the address.
        problem = type(error).__name__
    if problem is not None:
        host = urlsplit(address).netloc.rpartition("@")[2]
        say(f"webhook {host}: not delivered ({problem}); the schedule goes on")
