"""The feed from PostgreSQL: several nodes revoke at once, and whoever follows misses nothing (invariant I6, ADR 0024).

``python -m tests.storage.test_postgresql_feed URL NAME COUNT`` is such a node.
"""

import asyncio
import os
import sys

import asyncpg
import pytest
from tests.storage.store_things import NOW, event, refreshed, revocation

from mintmark.authority.ports import GrantSelector
from mintmark.oauth.revocations import Revocation
from mintmark.storage.postgresql import PostgreSQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.spec("invariant I6")]

NODES = 3
ROUNDS = 40
GRANTS = 7


async def revoke(url: str, name: str, rounds: str) -> None:
    """Revoke single tokens and whole sign-ins, several at a time; begin when told on standard input."""
    store = await PostgreSQLStore.open(url, connections=4)
    os.write(1, b"ready\n")
    await asyncio.to_thread(sys.stdin.readline)

    async def singly(number: int) -> None:
        await store.revocations.add(revocation(f"{name} {number}"), event())

    async def together(number: int) -> None:
        subject = f"{name} {number}"
        for grant in range(GRANTS):
            await store.grants.add(refreshed(f"{subject} {grant}", subject=subject), event())
        assert await store.grants.end(GrantSelector(subject=subject), reason="x", at=NOW, audit=event()) == GRANTS

    for number in range(int(rounds)):
        await asyncio.gather(singly(number), together(number))
    await store.close()


async def test_who_follows_several_nodes_misses_nothing(postgresql_url: str) -> None:
    command = [sys.executable, "-m", "tests.storage.test_postgresql_feed", postgresql_url]
    nodes = [
        await asyncio.create_subprocess_exec(*command, name, str(ROUNDS), stdin=-1, stdout=-1)
        for name in ("a", "b", "c")[:NODES]
    ]
    for node in nodes:
        assert node.stdout is not None
        assert await node.stdout.readline() == b"ready\n"
    store = await PostgreSQLStore.open(postgresql_url, connections=2)
    for node in nodes:
        assert node.stdin is not None
        node.stdin.write(b"go\n")
    ended = asyncio.gather(*(node.wait() for node in nodes))
    heard: list[Revocation] = []
    cursor, is_over = 0, False
    while not is_over:
        is_over = ended.done()
        while found := await store.revocations.after(cursor, 50):
            heard += found
            cursor = found[-1].cursor
    assert await ended == [0] * NODES
    expected = NODES * ROUNDS * (GRANTS + 1)
    everything = await store.revocations.after(0, 2 * expected)
    await store.close()
    assert len({entry.value for entry in everything}) == expected
    assert heard == everything


async def test_without_its_counter_nothing_is_revoked_by_half(postgresql_url: str) -> None:
    """It is never silent: an entry that is not there would let tokens live that were said to be dead."""
    store = await PostgreSQLStore.open(postgresql_url, connections=2)
    await store.grants.add(refreshed(), event("in"))
    other = await asyncpg.connect(postgresql_url)
    await other.execute("DELETE FROM counters")
    try:
        with pytest.raises(RuntimeError, match="0 of 1 revocations"):
            await store.grants.end(GrantSelector(subject="usr_ada"), reason="x", at=NOW, audit=event("out"))
        assert await store.keys.signing_keys() == []
        with pytest.raises(RuntimeError, match="the counter `keys` is missing"):
            await store.keys.change([], [], audit=event("keys"))
    finally:
        await other.execute("INSERT INTO counters VALUES ('keys', 0), ('revocations', 0)")
        await other.close()
    assert [each.event for each in await store.audit.latest(10)] == ["in"]
    assert len(await store.grants.live(GrantSelector(subject="usr_ada"), NOW)) == 1
    await store.close()


if __name__ == "__main__":
    asyncio.run(revoke(*sys.argv[1:]))
