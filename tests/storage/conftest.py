"""The conformance suite runs against every adapter."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.storage.store_things import ADAPTERS

from mintmark.authority.ports import Store


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each adapter."""
    opened = ADAPTERS[request.param](tmp_path)
    yield opened
    await opened.close()
