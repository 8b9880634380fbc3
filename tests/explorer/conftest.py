"""What the tests of the explorer share."""

from collections.abc import Iterator

import pytest

from .javascript import JavaScript


@pytest.fixture(scope="session")
def javascript() -> Iterator[JavaScript]:
    """The page's engine in one Node process; tests are skipped where Node is missing."""
    engine = JavaScript()
    yield engine
    engine.close()
