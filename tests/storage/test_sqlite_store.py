"""The SQLite store: its file, its neighbours, what it does when something fails in the middle."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.storage.store_things import (
    NOW,
    client,
    consent,
    event,
    events,
    grant,
    grant_id,
    refreshed,
    revocation,
    session,
    signing_key,
    step,
    user,
)

from mintmark.authority.ports import GrantSelector, StoreUnavailableError
from mintmark.storage.sqlite import SQLiteStore
from mintmark.storage.sqlite.connections import connect

pytestmark = pytest.mark.anyio

GRANTS = 5000
MAX_BYTES_PER_GRANT = 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore.open(path, now=NOW, busy_timeout=0.1)
    yield opened
    await opened.close()


def run(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Run one statement as another program would."""
    connection = connect(path, busy_timeout=1)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def spoil(path: Path, start: int) -> None:
    """Overwrite the file from ``start`` on, as a failing disk might."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (path.stat().st_size - start))


def start(program: str, path: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a program of ``children`` in a process of its own."""
    command = [sys.executable, "-m", "tests.storage.children", program, str(path), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    names = [str(name) for (name,) in run(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: run(path, f"SELECT * FROM {name}") for name in names if name != "sqlite_sequence"}


async def test_acknowledged_means_on_the_disk(store: SQLiteStore) -> None:
    connection = store._writer._connection
    assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]  # FULL


async def test_the_files_are_for_their_owner_only(store: SQLiteStore, path: Path) -> None:
    await store.clients.add(client())
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["m.db", "m.db-shm", "m.db-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_readers_cannot_write(store: SQLiteStore) -> None:
    with pytest.raises(StoreUnavailableError, match="readonly"):
        store._readers.rows("DELETE FROM clients")


async def test_what_cannot_be_opened_is_unavailable(path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot open"):
        SQLiteStore.open(path.parent / "missing" / "m.db", now=NOW)
    with pytest.raises(StoreUnavailableError, match="cannot open"):
        SQLiteStore.open(path.parent, now=NOW)
    await SQLiteStore.open(path, now=NOW).close()
    spoil(path, 0)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        SQLiteStore.open(path, now=NOW)


async def test_a_file_that_stays_locked_cannot_be_opened(path: Path) -> None:
    connection = connect(path, busy_timeout=0)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        SQLiteStore.open(path, now=NOW, busy_timeout=0.05)
    connection.close()


async def test_while_another_process_writes_reads_answer_and_writes_are_unavailable(
    store: SQLiteStore, path: Path
) -> None:
    await store.grants.add(grant(), event())
    other = connect(path, busy_timeout=0)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        await store.grants.advance(step())
    assert await store.grants.get(grant_id("g")) == grant()
    assert len(await store.audit.latest(5)) == 1
    other.execute("ROLLBACK")
    other.close()
    assert await store.grants.advance(step()) is True


async def test_a_broken_file_is_unavailable(store: SQLiteStore, path: Path) -> None:
    """Neither reads nor writes take a database that lost its tables for an answer (invariant I4)."""
    for table in ("grants", "clients", "audit_events"):
        run(path, f"DROP TABLE {table}")
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: store.grants.get(b"x"),
        lambda: store.grants.advance(step()),
        store.clients.all,
        lambda: store.audit.record(event()),
    ]
    for verb in verbs:
        with pytest.raises(StoreUnavailableError):
            await verb()


async def test_garbage_in_the_file_is_unavailable(path: Path) -> None:
    store = SQLiteStore.open(path, now=NOW)
    await asyncio.gather(*(store.grants.add(grant(number), event()) for number in range(300)))
    await store.close()
    store = SQLiteStore.open(path, now=NOW)
    spoil(path, 4096)
    with pytest.raises(StoreUnavailableError):
        await store.grants.live(GrantSelector(client_id="shop"), NOW)
    with pytest.raises(StoreUnavailableError):
        await store.grants.advance(step(1))
    await store.close()


WHOLE: dict[str, Callable[[SQLiteStore], Awaitable[object]]] = {
    "grants.add": lambda store: store.grants.add(grant("new"), event("break")),
    "grants.advance": lambda store: store.grants.advance(step(expected=1, audit=event("break"))),
    "grants.end": lambda store: store.grants.end(
        GrantSelector(subject="usr_ada"), reason="x", at=NOW, audit=event("break")
    ),
    "sessions.add": lambda store: store.sessions.add(session("new"), replaces=session().digest, audit=event("break")),
    "sessions.end": lambda store: store.sessions.end(subject="usr_ada", audit=event("break")),
    "consents.put": lambda store: store.consents.put(consent(granted_at=1), event("break")),
    "consents.remove": lambda store: store.consents.remove("usr_ada", "shop", event("break")),
    "keys.change": lambda store: store.keys.change(
        [signing_key()], [signing_key(active_at=1)], revocations=[revocation()], audit=event("break")
    ),
    "keys.rewrap": lambda store: store.keys.rewrap([signing_key(wrapped=b"new")], [], event("break")),
    "revocations.add": lambda store: store.revocations.add(revocation(), event("break")),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_a_failure_in_the_last_part_undoes_the_first(store: SQLiteStore, path: Path, name: str) -> None:
    await store.grants.add(refreshed(), event())
    await store.sessions.add(session(), replaces=None, audit=event())
    await store.consents.put(consent(), event())
    await store.keys.change([], [signing_key()], audit=event())
    run(
        path,
        "CREATE TRIGGER breaks BEFORE INSERT ON audit_events WHEN NEW.event = 'break' "
        "BEGIN SELECT RAISE(ABORT, 'provoked'); END",
    )
    before = contents(path)
    neighbours = [store.audit.record(event("before")), WHOLE[name](store), store.audit.record(event("after"))]
    _, outcome, _ = await asyncio.gather(*neighbours, return_exceptions=True)
    assert isinstance(outcome, sqlite3.IntegrityError), outcome
    assert (await events(store))[-2:] == ["before", "after"]
    after = contents(path)
    assert after.pop("audit_events")[:-2] == before.pop("audit_events")
    assert after == before


async def test_two_stores_on_one_file_agree(store: SQLiteStore, path: Path) -> None:
    await store.grants.add(grant(), event())
    second = SQLiteStore.open(path, now=NOW)
    both = [store, second]
    for expected in range(10):
        outcomes = await asyncio.gather(*(each.grants.advance(step(expected=expected)) for each in both * 10))
        assert sum(outcomes) == 1
        assert await store.grants.get(grant_id("g")) == await second.grants.get(grant_id("g"))
    by_id = GrantSelector(id=grant_id("g"))
    ends = [each.grants.end(by_id, reason="x", at=NOW, audit=event()) for each in both]
    assert sum(await asyncio.gather(*ends)) == 1
    assert len(await second.revocations.after(0, 10)) == 1
    await second.close()


async def test_a_second_process_may_write_to_the_same_file(path: Path) -> None:
    store = SQLiteStore.open(path, now=NOW)
    with start("add_clients", path, "theirs") as child:
        for number in range(50):
            await store.clients.add(client(f"ours{number}"))
        assert await asyncio.to_thread(child.wait, 30) == 0
    assert len(await store.clients.all()) == 100
    await store.close()


async def test_a_write_is_seen_by_the_next_read_on_every_thread(store: SQLiteStore) -> None:
    await store.grants.add(grant(), event())
    for expected in range(20):
        await store.grants.advance(step(expected=expected))
        here = await store.grants.get(grant_id("g"))
        (there,) = await store.grants.live(GrantSelector(id=grant_id("g")), NOW)
        assert here == there
        assert here is not None
        assert here.generation == expected + 1


async def test_documents_of_another_version_are_understood(store: SQLiteStore, path: Path) -> None:
    """A newer version wrote a member unknown here, an older one left out those that have defaults."""
    run(path, """INSERT INTO clients VALUES ('old', '{"client_id":"old","name":"Old","from_the_future":[1]}')""")
    old = await store.clients.get("old")
    assert old is not None
    assert (old.name, old.require_pkce, old.classification) == ("Old", True, "confidential")
    assert await store.clients.replace(old, replace(old, name="New")) is True
    assert await store.clients.get("old") == replace(old, name="New")
    assert run(path, "SELECT json_extract(document, '$.from_the_future[0]') FROM clients") == [(1,)]


async def test_a_document_of_another_shape_is_not_taken_for_a_missing_one(store: SQLiteStore, path: Path) -> None:
    await store.users.add(user())
    run(path, """UPDATE users SET document = '{"subject": 1}'""")
    with pytest.raises(Exception, match="Expected `str`"):
        await store.users.get("usr_ada")


async def test_a_grant_found_needed_is_not_looked_at_again_in_vain(store: SQLiteStore, path: Path) -> None:
    await store.grants.add(grant(), event())
    await store.grants.advance(step())
    await store.sweep(NOW + 100, 10)
    assert run(path, "SELECT sweep_at FROM grants") == [(NOW + 200,)]  # its access token's end, then its idle limit
    await store.sweep(NOW + 200, 10)
    assert run(path, "SELECT sweep_at FROM grants") == [(NOW + 300,)]


async def test_a_grant_takes_at_most_400_bytes(store: SQLiteStore, path: Path) -> None:
    def typical(number: int) -> object:
        name = f"{number:022d}"
        return refreshed(
            number,
            client_id="shop-frontend",
            subject=f"usr_{name}",
            sid=name,
            authorization=replace(
                grant().authorization,
                scope=("openid", "profile", "email", "offline_access"),
                amr=("pwd",),
                claims={},
            ),
        )

    await asyncio.gather(*(store.grants.add(typical(number), event()) for number in range(GRANTS)))  # type: ignore[arg-type]
    run(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    pages = run(path, "SELECT name, sum(pgsize) FROM dbstat WHERE name LIKE '%grants%' GROUP BY name")
    each = {str(name): round(int(str(size)) / GRANTS, 1) for name, size in pages}
    print("bytes per live grant:", sum(each.values()), each)
    assert sum(each.values()) <= MAX_BYTES_PER_GRANT


@pytest.mark.slow
async def test_an_acknowledged_write_survives_kill_9(path: Path) -> None:
    for attempt in range(5):
        path = path.with_name(f"{attempt}.db")
        with start("acknowledge", path) as child:
            assert child.stdout is not None
            acknowledged = dict[str, int]()
            for count, line in enumerate(child.stdout):
                name, generation = line.split()
                acknowledged[name] = int(generation)
                if count == 1000:
                    child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        store = SQLiteStore.open(path, now=NOW)
        for name, told in acknowledged.items():
            stored = await store.grants.get(grant_id(name))
            assert stored is not None
            assert stored.generation >= told  # committed, and perhaps not told yet
        await store.close()
