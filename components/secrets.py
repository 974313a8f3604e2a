"""`${NAME}` in a config stands for an environment variable, and is replaced only where the value is used.

So what is stored of a config, in MLMD, logs and reports, holds the name of a secret and never the secret.
"""

import os
import re

from components.errors import UsageError

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

SECRET_NAME = re.compile(r"secret|passw|token|access_key|api_?key|private_key|connection_string", re.IGNORECASE)
"""What the name of an option has in it whose value nobody may read."""


def shown(text: str) -> str:
    """The text as it may be told: without user and password of the web addresses in it."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def resolved(text: str, field: str) -> str:
    """The text with the values of the environment variables that it names.

    Args:
      text: a value of the config; it may hold any number of `${NAME}`.
      field: the key that it stands at, for the message.

    Raises:
      UsageError: if one is not set.
    """

    def value(match: re.Match) -> str:
        if match[1] not in os.environ:
            raise UsageError(f"{field}: the environment variable {match[1]} is not set; set it or drop ${{{match[1]}}}")
        return os.environ[match[1]]

    return REFERENCE.sub(value, text)
