"""One warm process for all files that need it."""

import pytest
from warm import warm_server


@pytest.fixture(scope="session")
def warm():
    return warm_server()
