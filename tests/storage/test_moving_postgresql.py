"""An import into PostgreSQL has the database for itself: what was found empty is empty until the end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.storage.moved import PostgreSQLDatabase, SQLiteFile
from tests.storage.moving_things import exported, filled, taken
from tests.support.postgres import PostgreSQL

from mintmark.authority.ports import AlreadyExistsError
from mintmark.storage.moving import NotEmptyError
from mintmark.storage.postgresql import moving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_ADD = "INSERT INTO roles (name, document) VALUES ('theirs', '{}')"


@pytest.fixture
def target(postgresql_server: PostgreSQL) -> PostgreSQLDatabase:
    return PostgreSQLDatabase(postgresql_server)


@pytest.fixture
async def content(tmp_path: Path) -> bytes:
    return await filled(await asyncio.to_thread(SQLiteFile, tmp_path / "source.sqlite3"))


@pytest.fixture
async def other(target: PostgreSQLDatabase) -> AsyncIterator[Any]:
    """Somebody who writes to the database that is imported into."""
    connection = await asyncpg.connect(target.url)
    yield connection
    await connection.close()


async def test_who_writes_first_is_waited_for_and_seen(target: PostgreSQLDatabase, content: bytes, other: Any) -> None:
    async with other.transaction():
        await other.execute(_ADD)
        importing = asyncio.create_task(taken(target, content))
        await asyncio.sleep(0.3)
        assert not importing.done()
    with pytest.raises(NotEmptyError, match="there are rows in roles"):
        await importing
    assert await other.fetchval("SELECT count(*) FROM clients") == 0


async def test_who_writes_later_waits_until_all_is_there(
    target: PostgreSQLDatabase, content: bytes, other: Any
) -> None:
    async with target.writing():
        writing = asyncio.create_task(other.execute(_ADD))
        reader = await asyncpg.connect(target.url)
        assert await reader.fetchval("SELECT count(*) FROM roles") == 0  # who only reads does not wait
        await reader.close()
        await asyncio.sleep(0.3)
        assert not writing.done()
    await writing
    with pytest.raises(NotEmptyError):
        await taken(target, content)


async def test_who_writes_and_does_not_stop_ends_the_import(
    target: PostgreSQLDatabase, content: bytes, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_ALONE", moving._ALONE.replace("lock_timeout = 5000", "lock_timeout = 100"))
    async with other.transaction():
        await other.execute(_ADD)
        with pytest.raises(AlreadyExistsError, match="its tables stay in use"):
            await taken(target, content)
    assert await other.fetchval("SELECT count(*) FROM clients") == 0


async def test_of_two_imports_at_once_one_is_done(target: PostgreSQLDatabase, content: bytes) -> None:
    outcomes = await asyncio.gather(*(taken(target, content) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in outcomes if each is not None] == [NotEmptyError]
    assert await exported(target) == content
