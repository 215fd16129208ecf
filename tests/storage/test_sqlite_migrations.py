"""Migrations: fresh, again, from a newer version, interrupted, by several at once."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.storage.store_things import NOW, client

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage import schema
from mintmark.storage.schema import Schema, migration
from mintmark.storage.sqlite import SQLiteStore, UnknownSchemaError
from mintmark.storage.sqlite.connections import connect
from mintmark.storage.sqlite.migrations import migrate, schema_of

KNOWN = schema.migrations("sqlite")
NEXT = len(KNOWN) + 1
FIRST, SECOND = "0001_one", "0002_two"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.db"


def tables(path: Path) -> set[str]:
    connection = connect(path, busy_timeout=1)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def history(path: Path) -> list[tuple[int, int]]:
    connection = connect(path, busy_timeout=1)
    try:
        return connection.execute("SELECT version, applied_at FROM schema_version ORDER BY version").fetchall()
    finally:
        connection.close()


async def test_a_fresh_file_gets_every_migration_once(path: Path) -> None:
    await SQLiteStore.open(path, now=NOW).close()
    await SQLiteStore.open(path, now=NOW + 1).close()
    assert history(path) == [(step.version, NOW) for step in KNOWN]


async def test_a_new_migration_is_applied_to_what_is_there(path: Path) -> None:
    store = SQLiteStore.open(path, now=NOW)
    await store.clients.add(client())
    await store.close()
    connection = connect(path, busy_timeout=1)
    script = "-- why; not only how\nCREATE TABLE further (x);\n\nINSERT INTO further VALUES (';');"
    further = migration(f"{NEXT:04}_further", script)
    assert migrate(connection, [*KNOWN, further], now=NOW + 9) == NEXT
    assert connection.execute("SELECT x FROM further").fetchall() == [(";",)]
    assert connection.execute("SELECT client_id FROM clients").fetchall() == [("shop",)]
    connection.close()
    assert history(path)[-1] == (NEXT, NOW + 9)


def change(path: Path, statement: str) -> None:
    connection = connect(path, busy_timeout=1)
    connection.execute(statement)
    connection.close()


async def test_a_newer_database_is_refused_and_the_message_says_what_to_do(path: Path) -> None:
    await SQLiteStore.open(path, now=NOW).close()
    change(path, f"INSERT INTO schema_version VALUES (99, 0, {NEXT})")
    said = (
        rf"schema 99, which needs a mintmark that knows schema {NEXT}.*Install that version or a later one, or restore"
    )
    with pytest.raises(UnknownSchemaError, match=said):
        SQLiteStore.open(path, now=NOW)
    assert history(path)[-1] == (99, 0)


async def test_a_newer_database_that_works_with_this_version_is_taken(path: Path) -> None:
    await SQLiteStore.open(path, now=NOW).close()
    change(path, f"INSERT INTO schema_version VALUES (99, 0, {len(KNOWN)})")
    store = SQLiteStore.open(path, now=NOW)
    await store.check()
    await store.clients.add(client())
    await store.close()
    assert history(path)[-1] == (99, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [("INSERT INTO schema_version VALUES (99, 0, 99)", "newer"), ("DELETE FROM schema_version", "older")],
)
async def test_check_notices_a_schema_that_changed_below_it(path: Path, changed: str, said: str) -> None:
    store = SQLiteStore.open(path, now=NOW)
    await store.check()
    change(path, changed)
    with pytest.raises(StoreUnavailableError, match=said):
        await store.check()
    await store.close()


async def test_a_file_from_before_migrations_said_what_they_work_with_is_upgraded(path: Path) -> None:
    await SQLiteStore.open(path, now=NOW).close()
    change(path, "ALTER TABLE schema_version DROP COLUMN works_with")
    connection = connect(path, busy_timeout=1)
    assert schema_of(connection) == Schema(len(KNOWN), len(KNOWN))
    connection.close()
    store = SQLiteStore.open(path, now=NOW)
    await store.check()
    await store.close()


def test_a_step_that_fails_leaves_nothing_and_can_be_taken_again(path: Path) -> None:
    connection = connect(path, busy_timeout=1)
    steps = [
        migration(FIRST, "CREATE TABLE one (x);"),
        migration(SECOND, "CREATE TABLE two (x);\nINSERT INTO nowhere VALUES (1);"),
    ]
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, steps, now=NOW)
    assert not connection.in_transaction
    assert tables(path) == {"schema_version", "one"}
    mended = [steps[0], migration(SECOND, "CREATE TABLE two (x);")]
    assert migrate(connection, mended, now=NOW) == 2
    connection.close()
    assert tables(path) == {"schema_version", "one", "two"}


def test_a_process_killed_in_the_middle_of_a_step_leaves_nothing(path: Path) -> None:
    killed = subprocess.run([sys.executable, "-m", "tests.storage.children", "die_while_migrating", path], check=False)
    assert killed.returncode == -9
    assert tables(path).isdisjoint({"half", "whole"})
    connection = connect(path, busy_timeout=1)
    assert schema_of(connection).version == len(KNOWN)
    connection.close()


def test_an_unfinished_statement_is_a_mistake(path: Path) -> None:
    connection = connect(path, busy_timeout=1)
    with pytest.raises(ValueError, match="no semicolon"):
        migrate(connection, [migration(FIRST, "CREATE TABLE one (x);\nCREATE TABLE two (x)\n")], now=NOW)
    connection.close()
    assert tables(path) == set()


def test_several_processes_may_open_a_new_file_at_once(path: Path) -> None:
    command = [sys.executable, "-m", "tests.storage.children", "add_clients", str(path)]
    children = [subprocess.Popen([*command, prefix]) for prefix in "abc"]
    assert [child.wait(30) for child in children] == [0, 0, 0]
    assert len(history(path)) == len(KNOWN)
    connection = connect(path, busy_timeout=1)
    assert connection.execute("SELECT count(*) FROM clients").fetchone() == (150,)
    connection.close()


async def test_a_new_file_that_another_is_just_creating_is_opened_patiently(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says "locked" at once, whatever its timeout, to whoever meets another while turning to WAL mode."""
    other = connect(path, busy_timeout=0)
    other.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.execute("ROLLBACK")

    monkeypatch.setattr("mintmark.storage.sqlite.store.time.sleep", pause)
    await SQLiteStore.open(path, now=NOW).close()
    other.close()
    assert len(pauses) == 1


def test_several_threads_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(6)

    def open_and_close(path: Path) -> None:
        barrier.wait()
        asyncio.run(SQLiteStore.open(path, now=NOW).close())

    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            list(pool.map(open_and_close, [tmp_path / f"{number}.db"] * 6))
            assert len(history(tmp_path / f"{number}.db")) == len(KNOWN)
