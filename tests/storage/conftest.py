"""The conformance suite runs against every adapter."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.storage.store_things import ADAPTERS

from mintmark.authority.ports import Store
from mintmark.storage.postgresql import PostgreSQLStore


@pytest.fixture(scope="session")
def empty_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of an empty store of each adapter: to copy them is faster than to make them."""

    async def make(adapter: str) -> Path:
        directory = tmp_path_factory.mktemp(adapter)
        await ADAPTERS[adapter](directory).close()
        return directory

    return {adapter: asyncio.run(make(adapter)) for adapter in ADAPTERS}


@pytest.fixture(params=[*ADAPTERS, pytest.param("postgresql", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, empty_files: dict[str, Path], tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each adapter."""
    if request.param == "postgresql":
        opened: Store = await PostgreSQLStore.open(request.getfixturevalue("postgresql_url"), connections=4)
    else:
        shutil.copytree(empty_files[request.param], tmp_path, dirs_exist_ok=True)
        opened = ADAPTERS[request.param](tmp_path)
    yield opened
    await opened.close()
