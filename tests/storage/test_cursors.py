"""A store that went back in time gives none of its cursors out again, whatever it is told to keep (invariant I11).

Else an entry equal to the one that was lost, at its cursor, would hide from a node what lies before it. The store in
memory counts, so that tests can be read; nothing restores it behind a node's back but a test.
"""

import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from tests.storage.store_things import event

from mintmark.authority.ports import Store
from mintmark.oauth.revocations import Revocation
from mintmark.storage.postgresql import PostgreSQLStore
from mintmark.storage.sqlite import SQLiteStore

pytestmark = pytest.mark.spec("invariant I11")
ENTRIES = [Revocation(kind="jti", value=value, expires_at=1000) for value in "abcd"]


async def cursors_given(store: Store) -> set[int]:
    """Add the same entries as ever, and return the cursors that they got."""
    before = {entry.cursor for entry in await store.revocations.after(0, 100)}
    for entry in ENTRIES:
        await store.revocations.add(entry, event())
    found = [entry.cursor for entry in await store.revocations.after(0, 100)]
    assert found == sorted(set(found))
    return set(found) - before


async def assert_differ(store: Store, go_back: Callable[[], Awaitable[Store]]) -> None:
    once = await cursors_given(store)
    again = await cursors_given(await go_back())
    assert len(once) == len(again) == len(ENTRIES)
    assert not once & again


async def test_of_sqlite(tmp_path: Path) -> None:
    path, copy = tmp_path / "mintmark.db", tmp_path / "copy.db"
    store = SQLiteStore.open(path, now=0)
    await cursors_given(store)
    with sqlite3.connect(copy) as target, sqlite3.connect(path) as source:
        source.backup(target)
    target.close()
    source.close()
    stores = [store]

    async def go_back() -> Store:
        await store.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)  # noqa: ASYNC240 - nobody else runs
        shutil.copyfile(copy, path)
        stores.append(SQLiteStore.open(path, now=0))
        return stores[-1]

    await assert_differ(store, go_back)
    await stores[-1].close()


@pytest.mark.slow
async def test_of_postgresql(postgresql_url: str) -> None:
    store = await PostgreSQLStore.open(postgresql_url, connections=2)
    await cursors_given(store)
    connection = await asyncpg.connect(postgresql_url)
    counted = await connection.fetchval("SELECT value FROM counters WHERE name = 'revocations'")

    async def go_back() -> Store:
        await connection.execute('DELETE FROM revocations WHERE "cursor" > $1', counted)
        await connection.execute("UPDATE counters SET value = $1 WHERE name = 'revocations'", counted)
        return store

    try:
        await assert_differ(store, go_back)
    finally:
        await connection.close()
        await store.close()
