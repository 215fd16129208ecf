"""Fixtures for the protocol tests: fast keys, and an authority on each store."""

from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.support.installation import Installation, install
from tests.support.keys import KeyPool
from tests.support.world import FixedClock

from mintmark.authority.ports import Store
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore
from mintmark.system.passwords import judge


@pytest.fixture(scope="session")
def key_pool() -> KeyPool:
    return KeyPool()


@pytest.fixture(autouse=True)
def pooled_keys(key_pool: KeyPool) -> Iterator[None]:
    with key_pool.in_use():
        yield


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    opened: Store = (
        MemoryStore()
        if request.param == "memory"
        else SQLiteStore.open(tmp_path / "mintmark.db", now=FixedClock().now())
    )
    yield opened
    await opened.close()


@pytest.fixture(autouse=True, scope="session")
def judged_once() -> Iterator[None]:
    """Each password is judged once in a run: it takes as long as the rest of an installation."""
    with patch("mintmark.system.passwords.judge", cache(judge)):
        yield


@pytest.fixture
async def stored_mint(store: Store) -> Installation:
    """A fresh authority on each store."""
    return await install(store=store)
