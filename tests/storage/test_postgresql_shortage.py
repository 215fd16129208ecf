"""Too few connections: the server has no room for more, or requests hold all that there are."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from tests.storage.store_things import client, event, grant, grant_id, revocation, step
from tests.support.postgres import ROLE, PostgreSQL, postgresql

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.postgresql import PostgreSQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LIMIT = 3


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server of our own: its role is given a limit."""
    with postgresql(fsync=False) as server:
        server.empty_database("shared")
        yield server


@pytest.fixture
def url(server: PostgreSQL) -> Iterator[str]:
    server.clear("shared")
    yield server.url("shared")
    server.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


async def at_once(store: PostgreSQLStore, rounds: int = 10) -> None:
    """Do many small things at the same time; each must be answered."""

    async def work() -> None:
        for _ in range(rounds):
            await store.clients.all()

    await asyncio.gather(*(work() for _ in range(40)))


# The server has no room


async def test_with_fewer_connections_than_hoped_for_everything_is_answered(server: PostgreSQL, url: str) -> None:
    server.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT {LIMIT}")
    store = await PostgreSQLStore.open(url, connections=10)
    refused = server.log.read_text().count("too many connections for role")
    loop = asyncio.get_running_loop()
    await at_once(store)
    began = loop.time()
    await at_once(store, rounds=50)
    seconds = loop.time() - began
    assert store.usage["idle"] == LIMIT
    # Asked for some at first, and then by one task each second.
    assert server.log.read_text().count("too many connections for role") - refused <= 2 * 10 + 2 * seconds
    await store.close()


async def test_when_there_is_room_again_it_is_used(server: PostgreSQL, url: str) -> None:
    server.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT {LIMIT}")
    store = await PostgreSQLStore.open(url, connections=10)
    await at_once(store)
    server.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    await asyncio.sleep(1)
    await at_once(store)
    assert store.usage["idle"] == 10
    await store.close()


async def test_without_any_connection_the_server_is_said_to_be_full(server: PostgreSQL, url: str) -> None:
    server.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    with pytest.raises(StoreUnavailableError, match="too many connections for role"):
        await PostgreSQLStore.open(url)


async def test_without_a_connection_of_its_own_hearing_takes_turns_with_requests(server: PostgreSQL, url: str) -> None:
    store = await PostgreSQLStore.open(url, connections=10)
    server.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 1")
    await store.revocations.add(revocation("a"), event())
    for _ in range(3):
        assert [each.value for each in await asyncio.wait_for(store.revocations.after(0, 10), 1)] == ["a"]
    await store.close()


# Requests hold them all


@pytest.mark.spec("invariant I6")
async def test_who_hears_of_revocations_waits_for_no_request(url: str) -> None:
    store, elsewhere = [await PostgreSQLStore.open(url, connections=2) for _ in range(2)]
    await store.grants.add(grant(), event())
    await elsewhere.revocations.add(revocation("a"), event())
    holder = await asyncpg.connect(url)
    await holder.execute("BEGIN; LOCK TABLE grants IN ACCESS EXCLUSIVE MODE")
    waiting = [asyncio.ensure_future(store.grants.get(grant_id("g"))) for _ in range(6)]
    await asyncio.sleep(0.2)
    assert store.usage == {"busy": 2, "idle": 0, "size": 2, "waiting": 4}
    for _ in range(3):
        assert [each.value for each in await asyncio.wait_for(store.revocations.after(0, 10), 0.5)] == ["a"]
    assert store.usage == {"busy": 2, "idle": 0, "size": 2, "waiting": 4}  # it is not counted
    await holder.close()
    await asyncio.gather(*waiting)
    await store.close()
    await elsewhere.close()


async def test_all_connections_end_with_the_store(server: PostgreSQL, url: str) -> None:
    count = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'"
    store = await PostgreSQLStore.open(url, connections=2)
    assert await store.revocations.after(0, 10) == []
    assert server.execute(count) == ["2"]
    await store.close()
    for _ in range(100):
        if server.execute(count) == ["0"]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(server.execute(count))


async def test_a_server_that_is_left_is_left_by_who_hears_as_well(url: str) -> None:
    """It only reads, so it would never notice that its server takes no writes any more."""
    store = await PostgreSQLStore.open(url, connections=2)
    await store.grants.add(grant(), event())
    await store.revocations.after(0, 10)
    before = store._hearing._idle[0][0]
    for connection, _ in store._pool._idle:
        await connection.run("SET default_transaction_read_only = on")
    assert await store.grants.advance(step()) is True
    assert await store.revocations.after(0, 10) == []
    assert store._hearing._idle[0][0] is not before
    await store.clients.add(client())
    await store.close()
