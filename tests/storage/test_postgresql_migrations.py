"""Migrations of PostgreSQL: by command only, once, by several nodes at a time, without holding up who reads."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.storage.store_things import NOW, client
from tests.support.postgres import PostgreSQL

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage import schema
from mintmark.storage.postgresql import PostgreSQLStore, migrate, pending
from mintmark.storage.postgresql import migrations as module
from mintmark.storage.schema import Migration, Schema, UnknownSchemaError, migration

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KNOWN = schema.migrations("postgresql")
LATEST = len(KNOWN)
NEXT = LATEST + 1
_numbers = itertools.count()


@pytest.fixture
async def url(postgresql_server: PostgreSQL) -> AsyncIterator[str]:
    """A database with nothing in it at all."""
    name = f"migrating{next(_numbers)}"
    yield postgresql_server.create_database(name)
    postgresql_server.drop_database(name)


@pytest.fixture
async def other(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def further(script: str, *, works_with: int = NEXT) -> list[Migration]:
    return [*KNOWN, migration(f"{NEXT:04}_further", f"-- works with: {works_with}\n{script}")]


async def history(other: Any) -> list[tuple[int, int, int]]:
    rows = await other.fetch("SELECT version, applied_at, works_with FROM schema_version ORDER BY version")
    return [tuple(row) for row in rows]


async def test_each_migration_is_applied_once(url: str, other: Any) -> None:
    applied = list[str]()
    reached = await migrate(url, now=NOW, progress=lambda each: applied.append(each.name))
    assert reached == Schema(LATEST, KNOWN[-1].works_with)
    assert applied == [each.name for each in KNOWN]
    assert await migrate(url, now=NOW + 1, progress=lambda each: applied.append(each.name)) == reached
    assert applied == [each.name for each in KNOWN]
    assert await history(other) == [(each.version, NOW, each.works_with) for each in KNOWN]


async def test_to_look_changes_nothing(url: str, other: Any) -> None:
    assert await pending(url) == (schema.NOTHING, list(KNOWN))
    assert await other.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await migrate(url, now=NOW)
    assert await pending(url) == (Schema(LATEST, KNOWN[-1].works_with), [])


async def test_a_new_migration_is_applied_to_what_is_there(url: str, other: Any) -> None:
    await migrate(url, now=NOW)
    store = await PostgreSQLStore.open(url, connections=1)
    await store.clients.add(client())
    steps = further("CREATE TABLE further (x TEXT);\nINSERT INTO further VALUES (';');", works_with=LATEST)
    assert await migrate(url, now=NOW + 9, steps=steps) == Schema(NEXT, LATEST)
    assert (await history(other))[-1] == (NEXT, NOW + 9, LATEST)
    # The node that was there goes on, and another of its version may start.
    await store.check()
    assert await store.clients.get("shop") == client()
    await store.close()
    late = await PostgreSQLStore.open(url, connections=1)
    assert await late.clients.get("shop") == client()
    await late.close()


async def test_a_schema_that_needs_newer_code_is_refused(url: str) -> None:
    await migrate(url, now=NOW)
    store = await PostgreSQLStore.open(url, connections=1)
    await store.check()
    await migrate(url, now=NOW, steps=further("ALTER TABLE clients ADD COLUMN more TEXT;"))
    said = f"needs a mintmark that knows schema {NEXT}"
    for refused in (store.check(), PostgreSQLStore.open(url), migrate(url, now=NOW), pending(url)):
        with pytest.raises(UnknownSchemaError, match=said):
            await refused
    await store.close()


@pytest.mark.parametrize("applied", range(LATEST))
async def test_an_older_schema_is_refused_with_the_command_that_helps(url: str, applied: int) -> None:
    if applied:
        await migrate(url, now=NOW, steps=KNOWN[:applied])
    with pytest.raises(UnknownSchemaError, match="Run `mintmark migrate`"):
        await PostgreSQLStore.open(url)
    await migrate(url, now=NOW)
    store = await PostgreSQLStore.open(url, connections=1)
    await store.close()


async def test_a_step_that_fails_leaves_nothing_and_can_be_taken_again(url: str, other: Any) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await migrate(url, now=NOW, steps=further("CREATE TABLE half (x TEXT);\nINSERT INTO nowhere VALUES (1);"))
    assert await other.fetchval("SELECT to_regclass('half')") is None
    assert [version for version, *_ in await history(other)] == list(range(1, NEXT))
    assert (await migrate(url, now=NOW, steps=further("CREATE TABLE whole (x TEXT);"))).version == NEXT
    assert await other.fetchval("SELECT to_regclass('whole')") is not None


async def test_a_step_that_is_cut_off_leaves_nothing(url: str, other: Any) -> None:
    steps = further("CREATE TABLE half (x TEXT);\nSELECT pg_sleep(60);\nCREATE TABLE whole (x TEXT);")
    migrating = asyncio.create_task(migrate(url, now=NOW, steps=steps))
    busy = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    for _ in range(1000):
        if (pid := await other.fetchval(busy)) is not None:
            await other.execute(f"SELECT pg_terminate_backend({pid})")
            break
        await asyncio.sleep(0.02)
    with pytest.raises(StoreUnavailableError):
        await migrating
    assert await other.fetchval("SELECT to_regclass('half')") is None
    assert (await history(other))[-1][0] == LATEST


async def test_several_nodes_may_migrate_at_once(url: str, other: Any) -> None:
    """Who comes second waits, and finds it done; nobody fails."""
    steps = further("CREATE TABLE further (x TEXT);\nSELECT pg_sleep(0.5);\nINSERT INTO further VALUES ('once');")
    applied = list[int]()
    reached = await asyncio.gather(
        *(migrate(url, now=NOW, steps=steps, progress=lambda each: applied.append(each.version)) for _ in range(5))
    )
    assert reached == [Schema(NEXT, NEXT)] * 5
    assert applied == list(range(1, NEXT + 1))
    assert await other.fetch("SELECT x FROM further") == [("once",)]


async def test_a_table_in_use_is_waited_for_and_nobody_waits_long_behind(
    url: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that waits for a table makes everybody wait who comes after it; so it waits for moments only."""
    monkeypatch.setattr(module, "_PATIENCE", "SET LOCAL lock_timeout = 200")
    await migrate(url, now=NOW)
    store = await PostgreSQLStore.open(url, connections=1)
    async with other.transaction():
        await other.fetch("SELECT * FROM clients")  # a backup, say
        migrating = asyncio.create_task(
            migrate(url, now=NOW, steps=further("ALTER TABLE clients ADD COLUMN more TEXT;", works_with=LATEST))
        )
        for _ in range(10):
            assert await store.clients.get("shop") is None
            await asyncio.sleep(0.1)
        assert not migrating.done()
    assert (await migrating).version == NEXT
    await store.close()


async def test_a_table_that_stays_in_use_ends_the_attempt(
    url: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", "SET LOCAL lock_timeout = 20")
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    await migrate(url, now=NOW)
    async with other.transaction():
        await other.fetch("SELECT * FROM clients")
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            await migrate(url, now=NOW, steps=further("ALTER TABLE clients ADD COLUMN more TEXT;"))
    assert (await history(other))[-1][0] == LATEST


FOREIGN = {
    "the history of another tool": "CREATE TABLE schema_version (installed_rank INT, version TEXT, description TEXT)",
    "a table that is ours by name": "CREATE TABLE grants (id INT)",
}


@pytest.mark.parametrize("table", FOREIGN)
async def test_a_database_of_something_else_is_left_alone(url: str, other: Any, table: str) -> None:
    await other.execute(FOREIGN[table])
    with pytest.raises(
        UnknownSchemaError, match=r"it holds tables of something else\. Give mintmark a database of its own"
    ):
        await migrate(url, now=NOW)
    tables = await other.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {name for (name,) in tables} <= {"grants", "schema_version"}


async def test_the_history_of_another_tool_is_no_schema(url: str, other: Any) -> None:
    await other.execute(FOREIGN["the history of another tool"])
    for refused in (PostgreSQLStore.open(url), pending(url)):
        with pytest.raises(UnknownSchemaError, match="a table schema_version that is not mintmark's"):
            await refused
