"""Two nodes at the same row: the second waits for the first, and decides on what it left.

The first is played by a connection of our own, which stops where it hurts: written, and not yet committed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import asyncpg
import pytest
from tests.storage.store_things import (
    NOW,
    digest,
    event,
    events,
    grant,
    grant_id,
    lease,
    refreshed,
    revoked,
    session,
    signing_key,
    step,
    user,
)
from tests.support.postgres import PostgreSQL

from mintmark.authority.ports import GrantSelector, SupersededError
from mintmark.storage import rows, statements
from mintmark.storage.postgresql import PostgreSQLStore, grants, keys
from mintmark.storage.postgresql.connections import numbered
from mintmark.storage.rows import Codec

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Result = TypeVar("Result")
ADA = GrantSelector(subject="usr_ada")


class Other:
    """Another node, which takes its time."""

    def __init__(self, connection: Any, server: PostgreSQL) -> None:
        self.connection = connection
        self._server = server

    async def does(self, statement: str, *parameters: object) -> None:
        """Do something, and do not commit it yet."""
        await self.connection.execute(numbered(statement), *parameters)

    async def is_waited_for(self, by: Awaitable[Result]) -> "asyncio.Future[Result]":
        """Begin ``by``, and return when it waits for us."""
        waiting = asyncio.ensure_future(by)
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = 'shared' AND wait_event_type = 'Lock'"
        for _ in range(1000):
            if self._server.execute(query):
                return waiting
            assert not waiting.done(), "it did not wait"
            await asyncio.sleep(0.01)
        raise AssertionError("it neither waited nor ended")


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[PostgreSQLStore]:
    opened = await PostgreSQLStore.open(postgresql_url, connections=2)
    yield opened
    await opened.close()


@pytest.fixture
async def other(postgresql_url: str, postgresql_server: PostgreSQL) -> AsyncIterator[Other]:
    connection = await asyncpg.connect(postgresql_url)
    yield Other(connection, postgresql_server)
    await connection.close()


@pytest.mark.spec("invariant I6")
async def test_who_ends_a_grant_revokes_what_a_step_under_way_issued(store: PostgreSQLStore, other: Other) -> None:
    await store.grants.add(refreshed(access_expires_at=NOW), event())
    async with other.connection.transaction():
        taken = rows.advance_to_row(step(expected=1, access_expires_at=NOW + 500))
        await other.does(statements.GRANT_ADVANCE, *taken)
        ending = await other.is_waited_for(store.grants.end(ADA, reason="x", at=NOW, audit=event()))
    assert await ending == 1
    assert [expires_at for _, _, expires_at in await revoked(store)] == [NOW + 500]


async def test_grants_are_locked_in_one_order(store: PostgreSQLStore, other: Other) -> None:
    """Whoever waits for one holds none that comes after it: nobody can wait for the other in a circle."""
    first, second = sorted("ab", key=grant_id)
    for name in (second, first):  # so that the table has them the other way round
        await store.grants.add(refreshed(name), event())
    async with other.connection.transaction():
        await other.does("UPDATE grants SET replays = 1 WHERE id = ?1", grant_id(first))
        ending = await other.is_waited_for(store.grants.end(ADA, reason="x", at=NOW, audit=event()))
        await other.does("SELECT 1 FROM grants WHERE id = ?1 FOR UPDATE NOWAIT", grant_id(second))
    assert await ending == 2


@pytest.mark.spec("invariant I6")
async def test_no_step_is_taken_on_a_grant_that_is_just_ending(store: PostgreSQLStore, other: Other) -> None:
    await store.grants.add(refreshed(), event())
    async with other.connection.transaction():
        await other.does(statements.GRANT_END, grant_id("g"), NOW, "x")
        stepping = await other.is_waited_for(store.grants.advance(step(expected=1)))
    assert await stepping is False


@pytest.mark.spec("invariant I1")
async def test_of_two_steps_from_the_same_generation_the_second_is_not_taken(
    store: PostgreSQLStore, other: Other
) -> None:
    await store.grants.add(grant(), event("in"))
    async with other.connection.transaction():
        await other.does(statements.GRANT_ADVANCE, *rows.advance_to_row(step()))
        stepping = await other.is_waited_for(store.grants.advance(step(audit=event("step"))))
    assert await stepping is False
    assert await events(store) == ["in"]


async def test_a_step_that_was_undone_lets_the_next_one_through(store: PostgreSQLStore, other: Other) -> None:
    """The positive twin."""
    await store.grants.add(grant(), event())
    transaction = other.connection.transaction()
    await transaction.start()
    await other.does(statements.GRANT_ADVANCE, *rows.advance_to_row(step()))
    stepping = await other.is_waited_for(store.grants.advance(step()))
    await transaction.rollback()
    assert await stepping is True


@pytest.mark.spec("invariant I6")
async def test_no_grant_is_made_in_a_session_that_is_just_ending(store: PostgreSQLStore, other: Other) -> None:
    await store.sessions.add(session(), replaces=None, audit=event())
    async with other.connection.transaction():
        await other.does(statements.SESSION_END_BY_SID, "sid_s")
        adding = await other.is_waited_for(store.grants.add(grant(), event(), if_session="sid_s"))
    assert await adding is False
    assert await store.grants.get(grant_id("g")) is None


@pytest.mark.spec("invariant I6")
async def test_who_ends_a_session_waits_for_a_grant_that_is_just_made_in_it(
    store: PostgreSQLStore, other: Other
) -> None:
    """And so finds it when it ends the grants."""
    await store.sessions.add(session(), replaces=None, audit=event())
    async with other.connection.transaction():
        await other.does(grants._SESSION_HELD, "sid_s")
        await other.does(statements.GRANT_ADD, *rows.grant_to_row(grant()))
        ending = await other.is_waited_for(store.sessions.end(sid="sid_s", audit=event()))
    assert await ending == 1
    assert await store.grants.end(ADA, reason="x", at=NOW, audit=event()) == 1


async def test_a_grant_that_is_just_made_does_not_hold_up_the_use_of_its_session(
    store: PostgreSQLStore, other: Other
) -> None:
    await store.sessions.add(session(), replaces=None, audit=event())
    async with other.connection.transaction():
        await other.does(grants._SESSION_HELD, "sid_s")
        await store.sessions.touch(digest("s"), NOW + 77)
    found = await store.sessions.get(digest("s"))
    assert found is not None
    assert found.idle_expires_at == NOW + 77


async def test_nobody_signs_in_with_a_password_that_is_just_changed(store: PostgreSQLStore, other: Other) -> None:
    await store.users.add(user())
    changed = Codec(type(user())).encode(replace(user(), password_hash="$argon2id$new"))
    async with other.connection.transaction():
        await other.does("UPDATE users SET document = ?1", changed)
        adding = await other.is_waited_for(
            store.sessions.add(session(), replaces=None, if_user=user(), audit=event("in"))
        )
    assert await adding is False
    assert await store.sessions.of("usr_ada") == []


async def test_of_two_nodes_that_make_the_first_keys_one_does(store: PostgreSQLStore, other: Other) -> None:
    """There is no row yet that could be locked."""
    async with other.connection.transaction():
        await other.does(keys._LOCK)
        await other.does(statements.SIGNING_KEY_PUT, *rows.signing_key_to_row(signing_key("theirs")))
        changing = await other.is_waited_for(store.keys.change([], [signing_key("ours")], audit=event()))
    assert await changing is False
    assert [key.kid for key in await store.keys.signing_keys()] == ["theirs"]


async def test_who_is_just_superseded_writes_nothing(store: PostgreSQLStore, other: Other) -> None:
    mine = lease("one")
    await store.leases.put(None, mine)
    await store.grants.add(refreshed(), event())
    taken = rows.lease_change_to_row(mine, lease("two", fence=2))
    async with other.connection.transaction():
        await other.does(statements.LEASE_PUT, *taken)
        changing = await other.is_waited_for(store.keys.change([], [signing_key()], audit=event(), lease=mine))
    with pytest.raises(SupersededError):
        await changing
    assert await store.keys.signing_keys() == []
    with pytest.raises(SupersededError):
        await store.sweep(NOW + 10_000, 10, mine)
    assert await store.grants.get(grant_id("g")) is not None


async def test_who_takes_over_waits_for_a_write_under_way(store: PostgreSQLStore, other: Other) -> None:
    mine = lease("one")
    await store.leases.put(None, mine)
    async with other.connection.transaction():
        await other.does(statements.LEASE_HOLD, *rows.lease_hold_to_row(mine))
        taking = await other.is_waited_for(store.leases.put(mine, lease("two", fence=2)))
    assert await taking is True


@pytest.mark.spec("invariant I10")
async def test_the_sweep_spares_a_grant_that_is_just_used(store: PostgreSQLStore, other: Other) -> None:
    """Its clock may be ahead of that of the node which still accepts the token."""
    await store.grants.add(grant(), event())
    async with other.connection.transaction():
        await other.does(statements.GRANT_ADVANCE, *rows.advance_to_row(step()))
        sweeping = await other.is_waited_for(store.sweep(NOW + 60, 10))
    assert (await sweeping)["grants_expired"] == 0
    assert await store.grants.get(grant_id("g")) is not None


async def test_the_sweep_spares_a_session_that_is_just_used(store: PostgreSQLStore, other: Other) -> None:
    await store.sessions.add(session(), replaces=None, audit=event())
    async with other.connection.transaction():
        await other.does(statements.SESSION_TOUCH, digest("s"), NOW + 500)
        sweeping = await other.is_waited_for(store.sweep(NOW + 100, 10))
    assert (await sweeping)["sessions_expired"] == 0
    assert await store.sessions.get(digest("s")) is not None


async def test_who_revokes_waits_for_who_revoked_before(store: PostgreSQLStore, other: Other) -> None:
    """So a cursor is never given before a lower one can be read (ADR 0024); and what does not revoke does not wait."""
    await store.grants.add(refreshed(), event())
    async with other.connection.transaction():
        await other.does("UPDATE counters SET value = value + 1 WHERE name = 'revocations'")
        assert await store.grants.advance(step(expected=1, audit=event()))
        assert await store.keys.change([], [signing_key()], audit=event())
        ending = await other.is_waited_for(store.grants.end(ADA, reason="x", at=NOW, audit=event()))
        await asyncio.sleep(0.1)
        assert not ending.done()
    assert await ending == 1
