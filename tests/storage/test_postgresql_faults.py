"""What goes wrong between a node and PostgreSQL: done again where nothing was done, told apart where nobody knows.

Invariant I4: whatever happens, the answer is right, or there is none (``StoreUnavailableError``).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest
from tests.storage.store_things import NOW, client, event, events, grant, grant_id, refreshed, revoked, step
from tests.support.postgres import ROLE, SUPERUSER, PostgreSQL, free_port, postgresql
from tests.support.proxy import Proxy, proxy_to

from mintmark.authority.ports import AlreadyExistsError, GrantSelector, StoreUnavailableError
from mintmark.storage.postgresql import PostgreSQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.spec("invariant I4")]

ALL_OF_ADA = GrantSelector(subject="usr_ada")
_WAITS = "wait_event_type = 'Lock'"
_COMMITTED = "wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server of our own: it is crashed and restarted."""
    with postgresql(fsync=False, settings={"synchronous_commit": "on"}) as server:
        server.empty_database("shared")
        yield server


@pytest.fixture
def url(server: PostgreSQL) -> str:
    server.clear("shared")
    return server.url("shared")


@pytest.fixture
def proxy(server: PostgreSQL) -> Iterator[Proxy]:
    with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
async def store(url: str, proxy: Proxy) -> AsyncIterator[PostgreSQLStore]:
    """A store whose way to the server can be cut."""
    opened = await PostgreSQLStore.open(_at(url, proxy.port), connections=4)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[Any]:
    """Somebody else who uses the database."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def _at(url: str, port: int) -> str:
    return f"postgresql://{ROLE}@127.0.0.1:{port}/{url.rpartition('/')[2]}"


async def _until(server: PostgreSQL, condition: str, count: int) -> None:
    """Wait until that many statements of the store are in that state."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = 'shared' AND {condition}"
    for _ in range(1000):
        if server.execute(query) == [str(count)]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(server.execute("SELECT state, wait_event, query FROM pg_stat_activity"))


# Nobody knows


@pytest.fixture
def hesitant(server: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server that can be told to commit and not to say so: it waits for a standby that there is not."""
    yield server
    _answer(server, is_prompt=True)


def _answer(server: PostgreSQL, *, is_prompt: bool) -> None:
    server.execute(f"ALTER SYSTEM SET synchronous_standby_names = {'DEFAULT' if is_prompt else 'nobody'}")
    server.execute("SELECT pg_reload_conf()")


WRITES: dict[str, tuple[Callable[[PostgreSQLStore], Awaitable[bool]], list[str]]] = {
    "one statement": (lambda store: store.grants.advance(step()), ["in"]),
    "a transaction": (lambda store: store.grants.advance(step(audit=event("step"))), ["in", "step"]),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_was_committed_and_not_answered_is_not_done_again(
    store: PostgreSQLStore, proxy: Proxy, hesitant: PostgreSQL, write: str
) -> None:
    """Done again it would find the grant one step further, and take that for somebody else's step."""
    act, recorded = WRITES[write]
    await store.grants.add(grant(), event("in"))
    _answer(hesitant, is_prompt=False)
    pending = asyncio.ensure_future(act(store))
    await _until(hesitant, _COMMITTED, 1)
    proxy.cut()
    proxy.restore()  # so that nothing would keep it from being done again
    _answer(hesitant, is_prompt=True)
    with pytest.raises(StoreUnavailableError):
        await pending
    await _until(hesitant, _COMMITTED, 0)
    found = await store.grants.get(grant_id("g"))
    assert found is not None
    assert found.generation == 1
    assert await events(store) == recorded


# Nothing was done


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_was_not_sent_is_done_when_the_way_is_there_again(
    store: PostgreSQLStore, proxy: Proxy, write: str
) -> None:
    """The positive twin."""
    act, recorded = WRITES[write]
    await store.grants.add(grant(), event("in"))
    proxy.cut()
    pending = asyncio.ensure_future(act(store))
    await asyncio.sleep(0.2)
    assert not pending.done()
    proxy.restore()
    assert await pending is True
    assert await events(store) == recorded


async def test_a_transaction_that_breaks_before_its_end_is_done_again(
    store: PostgreSQLStore, proxy: Proxy, server: PostgreSQL, other: Any
) -> None:
    await store.grants.add(grant(), event("in"))
    async with other.transaction():
        await other.execute("UPDATE grants SET replays = 0")
        pending = asyncio.ensure_future(store.grants.advance(step(audit=event("step"))))
        await _until(server, _WAITS, 1)
        proxy.cut()
        proxy.restore()
    assert await pending is True
    assert await events(store) == ["in", "step"]


async def test_reads_and_writes_outlive_a_crash_of_the_server(store: PostgreSQLStore, server: PostgreSQL) -> None:
    """Each is right or there is no answer; and when the server is back, everything is."""
    await store.grants.add(grant(), event())
    restart = asyncio.create_task(asyncio.to_thread(server.restart, "immediate"))
    taken, unknown = 0, 0
    while not restart.done() or unknown == 0:
        try:
            found = await store.grants.get(grant_id("g"))
            assert found is not None
            taken += await store.grants.advance(step("g", found.generation))
        except StoreUnavailableError:
            unknown += 1
        if restart.done():
            break
    await restart
    found = await store.grants.get(grant_id("g"))
    assert found is not None
    assert taken <= found.generation <= taken + unknown


async def test_connections_that_the_server_ends_are_replaced_unnoticed(
    store: PostgreSQLStore, server: PostgreSQL
) -> None:
    await asyncio.gather(*(store.clients.add(client(f"c{number}")) for number in range(8)))
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shared'")
    assert len(await store.clients.all()) == 8
    assert await store.clients.remove("c0") is True


async def test_statements_that_the_server_has_forgotten_are_prepared_again(store: PostgreSQLStore) -> None:
    for _ in range(2):
        await store.clients.add(client())
        assert await store.clients.get("shop") == client()
        assert await store.clients.remove("shop") is True
        for connection, _ in store._pool._idle:
            await connection.run("DEALLOCATE ALL")


async def test_of_two_that_wait_for_each_other_ours_is_done_again(store: PostgreSQLStore, server: PostgreSQL) -> None:
    """A deadlock with somebody who locks in another order; our own statements never do."""
    first, second = sorted([grant_id("a"), grant_id("b")])
    for name in "ab":
        await store.grants.add(refreshed(name), event("in"))
    other = await asyncpg.connect(server.url("shared", role=SUPERUSER))
    await other.execute("SET deadlock_timeout = '1h'")  # so that it is ours that notices, and has to yield
    async with other.transaction():
        await other.execute("UPDATE grants SET replays = 1 WHERE id = $1", second)
        ending = asyncio.create_task(store.grants.end(ALL_OF_ADA, reason="x", at=NOW, audit=event("out")))
        await _until(server, _WAITS, 1)
        await other.execute("UPDATE grants SET replays = 1 WHERE id = $1", first)
    await other.close()
    assert await ending == 2
    assert await events(store) == ["in", "in", "out"]
    assert len(await revoked(store)) == 2


async def test_nodes_that_end_the_same_grants_do_not_get_in_each_others_way(
    url: str, store: PostgreSQLStore, server: PostgreSQL
) -> None:
    before = int(server.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = 'shared'")[0])
    for round_ in range(5):
        for number in range(20):
            await store.grants.add(refreshed(f"{round_} {number}"), event())
        outcomes = await asyncio.gather(
            *(store.grants.end(ALL_OF_ADA, reason="x", at=NOW, audit=event()) for _ in range(4)),
            *(store.grants.end(GrantSelector(client_id="shop"), reason="x", at=NOW, audit=event()) for _ in range(4)),
        )
        assert sum(outcomes) == 20
    assert len(await revoked(store)) == 100
    assert int(server.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = 'shared'")[0]) == before


# No answer, in bounded time


async def test_a_server_that_is_too_slow_is_told_to_stop(url: str, server: PostgreSQL, other: Any) -> None:
    server.execute(f"ALTER ROLE {ROLE} SET statement_timeout = '200ms'")
    try:
        store = await PostgreSQLStore.open(url, connections=2)
        await store.grants.add(grant(), event())
        async with other.transaction():
            await other.execute("UPDATE grants SET replays = 0")
            with pytest.raises(StoreUnavailableError, match="statement timeout"):
                await store.grants.advance(step())
        assert await store.grants.advance(step()) is True
        await store.close()
    finally:
        server.execute(f"ALTER ROLE {ROLE} RESET statement_timeout")


async def test_a_way_that_swallows_everything_costs_seconds_and_the_next_goes_well(
    store: PostgreSQLStore, proxy: Proxy
) -> None:
    await store.grants.add(grant(), event())
    loop = asyncio.get_running_loop()
    proxy.swallow()
    began = loop.time()
    outcomes = await asyncio.gather(
        store.grants.get(grant_id("g")), store.grants.advance(step()), store.check(), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [StoreUnavailableError] * 3
    assert loop.time() - began < 8
    proxy.cut()  # what was swallowed is lost, as by a network that comes back
    proxy.restore()
    assert await store.grants.advance(step()) is True


@pytest.mark.parametrize("write", WRITES)
async def test_what_a_caller_gave_up_is_cancelled_and_its_connection_not_used_again(
    store: PostgreSQLStore, server: PostgreSQL, other: Any, write: str
) -> None:
    act, _ = WRITES[write]
    await store.grants.add(grant(), event("in"))
    assert store.usage["idle"] == 1
    async with other.transaction():
        await other.execute("UPDATE grants SET replays = 0")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await act(store)
        assert store.usage["idle"] == 0
        await _until(server, _WAITS, 0)
    found = await store.grants.get(grant_id("g"))
    assert found is not None
    assert found.generation == 0
    assert await events(store) == ["in"]


async def test_when_all_connections_are_in_use_the_next_waits_and_then_learns_it(url: str, other: Any) -> None:
    store = await PostgreSQLStore.open(url, connections=2)
    await store.grants.add(grant(), event())
    async with other.transaction():
        await other.execute("UPDATE grants SET replays = 0")
        waiting = [asyncio.create_task(store.grants.advance(step())) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert store.usage == {"busy": 2, "idle": 0, "size": 2, "waiting": 0}
        read = asyncio.create_task(store.grants.get(grant_id("g")))
        await asyncio.sleep(0)
        assert store.usage["waiting"] == 1
        with pytest.raises(StoreUnavailableError, match="all 2 connections"):
            await read
    assert sorted(await asyncio.gather(*waiting)) == [False, True]
    assert (await store.grants.get(grant_id("g"))) is not None
    await store.close()


# Ours to mend, and theirs


async def test_a_mistake_of_ours_is_no_outage(store: PostgreSQLStore, server: PostgreSQL) -> None:
    server.execute("ALTER TABLE clients RENAME TO gone", "shared")
    try:
        with pytest.raises(asyncpg.UndefinedTableError):
            await store.clients.get("shop")
    finally:
        server.execute("ALTER TABLE gone RENAME TO clients", "shared")
    assert await store.clients.get("shop") is None


async def test_what_the_role_may_not_do_is_an_outage(store: PostgreSQLStore, server: PostgreSQL) -> None:
    server.execute(f"REVOKE SELECT ON clients FROM {ROLE}", "shared")
    try:
        with pytest.raises(StoreUnavailableError, match="permission denied"):
            await store.clients.get("shop")
    finally:
        server.execute(f"GRANT SELECT ON clients TO {ROLE}", "shared")


async def test_a_name_taken_is_told_without_the_name(store: PostgreSQLStore) -> None:
    await store.clients.add(client("secret-project"))
    with pytest.raises(AlreadyExistsError) as caught:
        await store.clients.add(client("secret-project"))
    assert "secret-project" not in str(caught.value)


async def test_where_nobody_listens_the_store_does_not_open() -> None:
    with pytest.raises(StoreUnavailableError, match="Connect call failed"):
        await PostgreSQLStore.open(f"postgresql://{ROLE}@127.0.0.1:{free_port()}/shared")
