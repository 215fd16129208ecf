"""One file, from any database into any other: all of it or nothing."""

import asyncio
import io
from dataclasses import replace
from typing import Any

import pytest
from tests.storage.moved import Database, PostgreSQLDatabase, SQLiteFile
from tests.storage.moving_things import exported, file, fill, filled, forged, source, taken, target
from tests.storage.store_things import NOW, event, grant, refreshed, revocation
from tests.support.installation import Installation, install
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import PostgreSQL
from tests.support.world import FixedClock, SeededRandomness

from mintmark import bootstrap
from mintmark.authority.ports import AlreadyExistsError, Store
from mintmark.authority.wrapping import MasterKeys
from mintmark.storage import moving
from mintmark.storage.moving import TABLES, Export, ExportError, NotEmptyError, Table
from mintmark.storage.schema import UnknownSchemaError

__all__ = ["file", "source", "target"]

pytestmark = pytest.mark.anyio


async def test_every_row_arrives_as_it_was(source: Database, target: Database) -> None:
    content = await filled(source)
    await taken(target, content)
    assert await exported(target) == content
    assert set(Export(io.BytesIO(content)).summary.rows) == {table.name for table in TABLES}
    assert all(Export(io.BytesIO(content)).summary.rows.values())

    async def look(store: Store) -> list[Any]:
        return [
            await store.clients.all(),
            await store.resources.all(),
            await store.roles.all(),
            await store.users.by_email("ADA@example.com"),
            *[await store.grants.get(grant(name).id) for name in ("code", "old", "ended")],
            await store.sessions.of("usr_ada"),
            await store.consents.of("usr_ada"),
            await store.keys.signing_keys(),
            await store.keys.server_secrets(),
            await store.revocations.after(0, 100),
            await store.audit.latest(100),
        ]

    assert await target.on_store(look) == await source.on_store(look)


async def test_what_is_revoked_afterwards_comes_after_what_was_moved(source: Database, target: Database) -> None:
    await taken(target, await filled(source))

    async def revoke(store: Store) -> tuple[list[int], list[str]]:
        before = [entry.cursor for entry in await store.revocations.after(0, 100)]
        await store.revocations.add(revocation("new"), event("newest"))
        (new,) = await store.revocations.after(before[-1], 100)
        return [*before, new.cursor], [each.event for each in await store.audit.latest(2)]

    cursors, events = await target.on_store(revoke)
    assert cursors == sorted(set(cursors))
    assert events == ["newest", "last"]


async def test_a_database_without_anything_can_be_moved(source: Database, target: Database) -> None:
    content = await exported(source)
    await taken(target, content)
    assert await exported(target) == content
    assert set(Export(io.BytesIO(content)).summary.rows.values()) == {0}


async def test_all_that_is_stored_is_moved(source: Database) -> None:
    """Except what says how far this database and these nodes are."""
    not_moved = {"schema_version", "leases", "counters", "audit_events.seq"}
    stored = {name for name in await source.columns() if not {name, name.partition(".")[0]} & not_moved}
    assert {f"{table.name}.{column}" for table in TABLES for column in table.columns} == stored


async def test_what_a_newer_version_keeps_is_never_left_out(source: Database, target: Database) -> None:
    """This version works with an expanded schema, but does not know all that is in it."""
    content = await filled(source)
    for database in (source, target):
        database.execute("INSERT INTO schema_version (version, applied_at, works_with) VALUES (99, 0, 1)")
    with pytest.raises(UnknownSchemaError, match=r"has schema 99.*Export it with the newer one"):
        await exported(source)
    await taken(target, content)


async def test_an_export_is_of_one_instant(source: Database) -> None:
    await source.on_store(fill)
    before = await exported(source)
    written: list[int] = []

    def write(table: str, _: int) -> None:
        if table == "clients" and not written:
            written.append(1)
            source.elsewhere(lambda store: store.grants.add(refreshed("late"), event("late")))

    assert await exported(source, write) == before
    assert written
    assert await exported(source) != before


async def test_memory_holds_a_batch_and_not_the_table(file: SQLiteFile) -> None:
    async def add(store: Store) -> None:
        await asyncio.gather(*(store.audit.record(event(f"e{n}")) for n in range(2 * moving.BATCH + 1)))

    await file.on_store(add)
    told: list[tuple[str, int]] = []
    content = await exported(file, lambda *step: told.append(step))
    sizes = [len(rows) for _, _, rows in Export(io.BytesIO(content)).batches()]
    assert sizes == [moving.BATCH, moving.BATCH, 1]
    assert told == [("audit_events", moving.BATCH * n) for n in (1, 2)] + [("audit_events", 2 * moving.BATCH + 1)]


async def test_keys_are_in_it_only_as_they_are_stored(mint: Installation, file: SQLiteFile) -> None:
    """Invariant I8: neither the master key, nor what it protects, nor a token, is in the file."""
    store = mint.authority.store
    secrets, keys = await store.keys.server_secrets(), await store.keys.signing_keys()

    async def put(target: Store) -> None:
        await target.keys.change([], keys, audit=event())
        for each in secrets:
            await target.keys.add_server_secret(each)

    await file.on_store(put)
    content = await exported(file)
    read = Export(io.BytesIO(content)).wrapped()
    assert read == (secrets, keys)
    assert b'"d"' not in content
    assert b"PRIVATE" not in content


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
async def test_a_database_with_content_is_refused(file: SQLiteFile, target: Database, table: Table) -> None:
    content = await filled(file)
    # One row of that table and nothing else.
    async with target.writing() as empty:
        ours = next(batch for batch in Export(io.BytesIO(content)).batches() if batch[0] == table)
        await empty.add(table, ours[1], ours[2][:1])
    before = await exported(target)
    with pytest.raises(NotEmptyError, match=f"^there are rows in {table.name}$"):
        await taken(target, content)
    assert await exported(target) == before


async def test_an_import_that_fails_leaves_nothing_behind(file: SQLiteFile, target: Database) -> None:
    content = await filled(file)
    empty = await exported(target)
    with pytest.raises(ExportError):
        await taken(target, forged(content, lambda lines: [*lines, b'{"table":"later","columns":["x"]}\n']))
    assert await exported(target) == empty
    seen: list[bytes] = []
    async with target.writing() as half:
        for table, columns, rows in Export(io.BytesIO(content)).batches():
            await half.add(table, columns, rows)
            if table.name == "grants":
                seen.append(await asyncio.to_thread(lambda: asyncio.run(exported(target))))
    assert seen == [empty]
    assert await exported(target) == content


async def test_what_is_there_twice_is_refused(file: SQLiteFile, target: Database) -> None:
    content = await filled(file)
    empty = await exported(target)
    twice = forged(content, lambda lines: [line for each in lines for line in [each] * (1 + (b'["usr_ada",' in each))])
    with pytest.raises(AlreadyExistsError):
        await taken(target, twice)
    assert await exported(target) == empty


@pytest.mark.slow
async def test_a_pooler_in_between_changes_nothing(
    file: SQLiteFile, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mintmark.storage.postgresql import moving as postgresql_moving

    monkeypatch.setattr(moving, "BATCH", 3)
    monkeypatch.setattr(postgresql_moving, "BATCH", 3)
    content = await filled(file)
    with pgbouncer(postgresql_server, size=2) as port:
        behind = PostgreSQLDatabase(postgresql_server, port)
        await taken(behind, content)
        assert await exported(behind) == content


# --- sessions stay intact -------------------------------------------------------------------------------------------


async def moved(mint: Installation, target: Database, content: bytes) -> tuple[Installation, Store]:
    """Return the installation as it goes on on another database."""
    await taken(target, content)
    store = await target.open()
    world = bootstrap.World(mint.clock, SeededRandomness("moved"), has_cheap_passwords=True)
    master_keys = MasterKeys(bytes(32))
    authority = bootstrap.assemble(mint.authority.policy, store, master_keys, world, signing_threads=1)
    await authority.start()
    return replace(mint, authority=authority), store


@pytest.mark.spec("invariant I11")
async def test_what_was_rotated_after_the_export_is_fast_forwarded(source: Database, target: Database) -> None:
    """A node that served on meanwhile: whoever refreshed there goes on here, and the thief of an old token does not."""
    old_store = await source.open()
    old = await install(store=old_store, clock=FixedClock(NOW))
    tokens = await old.obtain()
    session = await old.session()
    content = await exported(source)
    old.clock.advance(60)
    rotated = (await old.refresh(tokens["refresh_token"])).json()
    old.clock.advance(60)
    rotated = (await old.refresh(rotated["refresh_token"])).json()
    await old_store.close()
    new, store = await moved(old, target, content)
    try:
        answer = await new.refresh(rotated["refresh_token"])
        assert answer.status_code == 200, answer.text
        assert [each.event for each in await store.audit.latest(1)] == ["grant.fast_forwarded"]
        assert await store.sessions.get(session.digest) == session
        assert await new.is_active(tokens["access_token"])
        new.clock.advance(60)
        reused = await new.refresh(tokens["refresh_token"])
        assert reused.json()["error"] == "invalid_grant"
        refused = await new.refresh(answer.json()["refresh_token"])
        assert refused.json()["error"] == "invalid_grant"
        assert not await new.is_active(answer.json()["access_token"])
    finally:
        await store.close()
