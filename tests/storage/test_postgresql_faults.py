"""What goes wrong between a node and PostgreSQL: done again where nothing was done, told apart where nobody knows.

Invariant I4: whatever happens, the answer is right, or there is none (``StoreUnavailableError``).
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from tests.storage.store_things import NOW, client, event, events, grant, grant_id, refreshed, revoked, step
from tests.support.postgres import ROLE, PostgreSQL, free_port, postgresql
from tests.support.proxy import Proxy, proxy_to

from mintmark.authority.ports import AlreadyExistsError, GrantSelector, StoreUnavailableError
from mintmark.storage.postgresql import PostgreSQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.spec("invariant I4")]

ALL_OF_ADA = GrantSelector(subject="usr_ada")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server of our own: it is crashed and restarted."""
    with postgresql(fsync=False) as server:
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


async def _reached(server: PostgreSQL, what: str) -> None:
    """Wait until a statement of the store is in that state."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = 'shared' AND {what} AND pid <> pg_backend_pid()"
    while server.execute(query) == ["0"]:
        await asyncio.sleep(0.02)


# Nobody knows


@pytest.fixture
def hesitant(server: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server whose commits are done, and not answered: it waits for a standby that there is not."""
    server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.execute("ALTER SYSTEM SET synchronous_commit = 'on'")
    server.execute("SELECT pg_reload_conf()")
    yield server
    server.restart("immediate")


@pytest.fixture
def synchronous(server: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server whose commits are done, and not answered, from the moment on when ``hold`` says so."""
    yield server
    server.execute("ALTER SYSTEM RESET synchronous_standby_names")
    server.execute("SELECT pg_reload_conf()")


def _hold_commits(server: PostgreSQL) -> None:
    server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.execute("SELECT pg_reload_conf()")


WRITES = {
    "one statement": (lambda store: store.grants.advance(step()), ["in"]),
    "a transaction": (lambda store: store.grants.advance(step(audit=event("step"))), ["in", "step"]),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_was_committed_and_not_answered_is_not_done_again(
    store: PostgreSQLStore, proxy: Proxy, synchronous: PostgreSQL, write: str
) -> None:
    """Done again it would find the grant one step further, and take that for somebody else's step."""
    act, recorded = WRITES[write]
    await store.grants.add(grant(), event("in"))
    _hold_commits(synchronous)
    pending = asyncio.create_task(act(store))
    await _reached(synchronous, "wait_event = 'SyncRep'")
    proxy.cut()
    with pytest.raises(StoreUnavailableError):
        await pending
    proxy.restore()
    found = await store.grants.get(grant_id("g"))
    assert found is not None
    assert found.generation == 1
    assert await events(store) == recorded
