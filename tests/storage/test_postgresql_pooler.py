"""PostgreSQL behind PgBouncer in transaction mode: what one transaction prepared, another does not find."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from tests.storage.store_things import NOW, client, event, grant, grant_id, refreshed, revocation, session, step, user
from tests.support.pgbouncer import pgbouncer, through
from tests.support.postgres import PostgreSQL

from mintmark.authority.ports import GrantSelector
from mintmark.storage import statements
from mintmark.storage.postgresql import PostgreSQLStore, migrate
from mintmark.storage.postgresql.dialing import Address, Dialer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SERVER_CONNECTIONS = 2
CLIENTS = 12


@pytest.fixture(scope="module")
def port(postgresql_server: PostgreSQL) -> Iterator[int]:
    with pgbouncer(postgresql_server, size=SERVER_CONNECTIONS) as port:
        yield port


@pytest.fixture
def url(port: int, postgresql_url: str) -> str:
    return through(postgresql_url, port)


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgreSQLStore]:
    opened = await PostgreSQLStore.open(url, connections=CLIENTS)
    yield opened
    await opened.close()


async def test_a_pooler_is_recognised(url: str, postgresql_url: str) -> None:
    for given, is_pooled in ((url, True), (postgresql_url, False)):
        connection = await Dialer(Address.of(given, None)).dial()
        assert connection.is_pooled is is_pooled
        await connection.close()


async def test_many_clients_share_few_server_connections(store: PostgreSQLStore, url: str, postgresql_url: str) -> None:
    """Each statement reaches the server it was meant for, and is no other client's."""
    others = [await PostgreSQLStore.open(url, connections=CLIENTS) for _ in range(2)]
    stores = [store, *others]

    async def live(number: int) -> None:
        mine, name = stores[number % len(stores)], f"g{number}"
        assert await mine.sessions.add(session(name), replaces=None, audit=event())
        assert await mine.grants.add(grant(name, subject=name), event(), if_session=f"sid_{name}")
        for generation in range(10):
            found = await mine.grants.get(grant_id(name))
            assert found is not None
            assert (found.id, found.generation) == (grant_id(name), generation)
            assert await mine.grants.advance(step(name, generation))
            assert not await mine.grants.advance(step(name, generation))
        await mine.clients.add(client(name))
        assert await mine.clients.get(name) == client(name)
        assert [each.id for each in await mine.grants.live(GrantSelector(subject=name), NOW)] == [grant_id(name)]
        ended = await mine.grants.end(GrantSelector(subject=name), reason="x", at=NOW, audit=event(subject=name))
        assert ended == 1
        assert len(await mine.audit.latest(10, subject=name)) == 1

    await asyncio.gather(*(live(number) for number in range(60)))
    assert len(await store.revocations.after(0, 1000)) == 60
    for other in others:
        await other.close()
    connection = await asyncpg.connect(postgresql_url)
    used = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    assert 0 < used <= SERVER_CONNECTIONS


async def test_nothing_stays_behind_on_the_server(store: PostgreSQLStore, url: str) -> None:
    """No statement by name, no setting: the next client of that server connection would find it."""
    await store.grants.add(grant(), event())
    assert await store.grants.advance(step())
    for _ in range(4):
        connection = await asyncpg.connect(url, statement_cache_size=0)
        async with connection.transaction():
            assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
        await connection.close()


async def test_a_read_and_a_step_are_one_message_each(store: PostgreSQLStore, url: str, port: int) -> None:
    """Once described: no transaction of its own around them, though a pooler is in between."""
    await store.grants.add(grant(), event())
    connection = await Dialer(Address.of(url, None)).dial()
    asked = list[str]()
    raw = connection._raw

    async def execute(text: str) -> str:
        asked.append(text)
        return str(await type(raw).execute(raw, text))

    connection._raw = type(
        "Watched", (), {"__getattr__": lambda _, name: getattr(raw, name), "execute": staticmethod(execute)}
    )()
    assert await connection.rows(statements.GRANT_GET, (grant_id("g"),))
    assert [text.partition(";")[0] for text in asked] == ["BEGIN ISOLATION LEVEL READ COMMITTED", "ROLLBACK"]
    for _ in range(3):
        assert await connection.rows(statements.GRANT_GET, (grant_id("g"),))
    assert len(asked) == 2
    await connection.close()


async def test_migrations_go_through_a_pooler(port: int, postgresql_server: PostgreSQL) -> None:
    url = through(postgresql_server.create_database("pooled"), port)
    try:
        reached = await migrate(url, now=NOW)
        store = await PostgreSQLStore.open(url, connections=2)
        await store.users.add(user())
        await store.grants.add(refreshed(), event())
        await store.revocations.add(revocation(), event())
        assert (await store.sweep(NOW + 10_000, 10))["grants_expired"] == 1
        assert reached.version == store._latest
        await store.close()
    finally:
        postgresql_server.drop_database("pooled")


async def test_a_statement_that_is_refused_leaves_no_transaction_behind(url: str) -> None:
    connection = await Dialer(Address.of(url, None)).dial()
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.rows("SELECT x FROM nowhere")
    assert connection.is_usable
    assert len(await connection.rows("SELECT 1")) == 1
    await connection.close()
