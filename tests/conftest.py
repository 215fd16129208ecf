"""Fixtures for every kind of test."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.installation import Installation


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def mint() -> "Installation":
    """A fresh authority in memory, with the demo inhabitants."""
    # Imported here, so that tests of the SDKs' vocabulary do not need the server's packages.
    from tests.support.installation import install

    return await install()
