"""One warm process for all files that need it."""

import pytest
from warm import warmed


@pytest.fixture(scope="session")
def warm():
    with warmed() as server:
        yield server
