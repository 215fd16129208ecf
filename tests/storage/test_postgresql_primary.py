"""Which server is used: of those named the one that takes writes, also after that has changed."""

import asyncio
import io
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretBytes
from tests.storage.store_things import client, event, grant, grant_id, step
from tests.support.postgres import ROLE, PostgreSQL, free_port, postgresql
from tests.support.proxy import proxy_to

from mintmark import bootstrap
from mintmark.authority.ports import StoreUnavailableError
from mintmark.bootstrap.moving import export_all
from mintmark.config import Settings
from mintmark.storage.moving import TABLES
from mintmark.storage.postgresql import PostgreSQLStore, moving, pending
from mintmark.storage.postgresql.dialing import Address
from mintmark.storage.schema import UnknownSchemaError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PASSWORD = "hunter2-only-for-this-test"


@pytest.fixture
def primary() -> Iterator[PostgreSQL]:
    with postgresql(fsync=False) as server:
        server.empty_database("shared")
        yield server


@pytest.fixture
def standby(primary: PostgreSQL) -> Iterator[PostgreSQL]:
    made = primary.standby()
    yield made
    made.close()


def url_of(*ports: int) -> str:
    return f"postgresql://{ROLE}@{','.join(f'127.0.0.1:{port}' for port in ports)}/shared"


async def caught_up(primary: PostgreSQL, standby: PostgreSQL) -> None:
    for _ in range(500):
        if primary.has_caught_up(standby):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(standby.said())


async def patiently(store: PostgreSQLStore, generation: int) -> None:
    """Take a step as a client would whose refresh was answered with 503: again."""
    for _ in range(20):
        try:
            assert await store.grants.advance(step("g", generation))
        except StoreUnavailableError:
            found = await store.grants.get(grant_id("g"))
            assert found is not None
            if found.generation == generation + 1:
                return
        else:
            return
    raise AssertionError("there is no primary")


async def test_the_server_that_takes_writes_is_used_wherever_it_is_named(
    primary: PostgreSQL, standby: PostgreSQL
) -> None:
    await caught_up(primary, standby)
    for ports in ((standby.port, primary.port), (primary.port, standby.port), (free_port(), primary.port)):
        store = await PostgreSQLStore.open(url_of(*ports), connections=2)
        await store.clients.add(client(str(ports)))
        await store.close()


async def test_a_standby_alone_is_no_database(primary: PostgreSQL, standby: PostgreSQL) -> None:
    await caught_up(primary, standby)
    with pytest.raises(StoreUnavailableError, match="takes no writes"):
        await PostgreSQLStore.open(url_of(standby.port))


async def test_a_standby_is_good_enough_to_read_all_of_it(primary: PostgreSQL, standby: PostgreSQL) -> None:
    store = await PostgreSQLStore.open(url_of(primary.port))
    await store.clients.add(client("moved"))
    await store.close()
    await caught_up(primary, standby)
    assert (await pending(url_of(standby.port)))[1] == []
    settings = Settings(issuer="https://id.example", database=url_of(standby.port), master_key=SecretBytes(bytes(32)))
    file = io.BytesIO()
    await export_all(settings, bootstrap.real_world(), file, lambda *_: None)
    assert b'["moved",' in file.getvalue()
    # Of several the primary: a standby may be behind.
    primary.stop("immediate")
    with pytest.raises(StoreUnavailableError, match="takes no writes"):
        await pending(url_of(primary.port, standby.port))


async def test_a_role_that_may_only_read_can_look_and_export(primary: PostgreSQL) -> None:
    primary.execute(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    assert (await pending(url_of(primary.port)))[1] == []
    async with moving.reading(url_of(primary.port)) as source:
        assert [rows async for rows in source.rows(TABLES[0])] == []


async def test_what_was_not_migrated_is_not_exported(primary: PostgreSQL) -> None:
    primary.create_database("bare")
    with pytest.raises(UnknownSchemaError, match=r"is empty.*mintmark migrate"):
        async with moving.reading(primary.url("bare")):
            raise AssertionError


@pytest.mark.spec("invariant I4")
async def test_after_a_failover_the_new_primary_is_found(primary: PostgreSQL, standby: PostgreSQL) -> None:
    store = await PostgreSQLStore.open(url_of(primary.port, standby.port), connections=3)
    await store.grants.add(grant(), event())
    await asyncio.gather(*(patiently(store, generation) for generation in (0,)))
    await caught_up(primary, standby)
    primary.stop("immediate")
    promotion = asyncio.create_task(asyncio.to_thread(standby.promote))
    for generation in range(1, 6):
        await patiently(store, generation)
    await promotion
    assert standby.execute("SELECT generation FROM grants", "shared") == ["6"]
    # Who was the primary comes back as what it was: it is not asked any more.
    primary.start()
    await patiently(store, 6)
    assert standby.execute("SELECT generation FROM grants", "shared") == ["7"]
    await store.close()


async def test_a_server_that_stops_taking_writes_is_left(primary: PostgreSQL, standby: PostgreSQL) -> None:
    """A connection may outlive the change, where something in between turns it to another server."""
    await caught_up(primary, standby)
    store = await PostgreSQLStore.open(url_of(primary.port), connections=3)
    await store.grants.add(grant(), event())
    await asyncio.gather(*(store.clients.add(client(f"c{number}")) for number in range(3)))
    for connection, _ in store._pool._idle:
        await connection.run("SET default_transaction_read_only = on")
    assert await store.grants.advance(step()) is True
    assert await store.grants.advance(step("g", 1, audit=event("step"))) is True
    await store.close()


async def test_a_primary_that_hangs_is_left_for_the_other(primary: PostgreSQL, standby: PostgreSQL) -> None:
    with proxy_to(primary.port) as proxy:
        store = await PostgreSQLStore.open(url_of(proxy.port, standby.port), connections=2)
        await store.grants.add(grant(), event())
        await caught_up(primary, standby)
        proxy.swallow()
        standby.promote()
        await patiently(store, 0)
        assert standby.execute("SELECT generation FROM grants", "shared") == ["1"]
        await store.close()


@pytest.mark.spec("invariant I8")
async def test_a_password_opens_and_is_never_told(primary: PostgreSQL) -> None:
    primary.execute(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
    (hba,) = primary.execute("SHOW hba_file")
    primary.execute(f"COPY (SELECT 'host all all 127.0.0.1/32 scram-sha-256') TO '{hba}'")
    primary.restart()
    url = url_of(primary.port)
    store = await PostgreSQLStore.open(url, password=PASSWORD, connections=1)
    await store.clients.add(client())
    await store.close()
    for wrong in (f"{PASSWORD}x", None):
        with pytest.raises(StoreUnavailableError) as caught:
            await PostgreSQLStore.open(url, password=wrong)
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in repr(Address.of(url, PASSWORD))


@pytest.mark.spec("invariant I8")
@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey"])
async def test_a_file_for_tls_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    there, missing = tmp_path / "there.pem", tmp_path / "missing.pem"
    there.write_text("")
    files = dict.fromkeys(("sslrootcert", "sslcert", "sslkey"), there) | {name: missing}
    named = "&".join(f"{each}={path}" for each, path in files.items())
    url = f"postgresql://{ROLE}@127.0.0.1:{free_port()}/shared?sslmode=verify-full&{named}"
    with pytest.raises(StoreUnavailableError, match=f"^{name}={missing} cannot be read: No such file") as caught:
        await PostgreSQLStore.open(url, password=PASSWORD)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


async def test_a_refusal_is_told_at_once(primary: PostgreSQL) -> None:
    """It is no hiccup: to ask again for seconds would only look like an attack."""
    asked = primary.log.read_text().count("does not exist")
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        await PostgreSQLStore.open(f"postgresql://{ROLE}@127.0.0.1:{primary.port}/nowhere")
    assert primary.log.read_text().count("does not exist") == asked + 1


async def test_a_server_that_is_just_starting_is_waited_for(primary: PostgreSQL) -> None:
    primary.stop("immediate")
    start = asyncio.create_task(asyncio.to_thread(primary.start))
    store: PostgreSQLStore | None = None
    while store is None:
        try:
            store = await PostgreSQLStore.open(url_of(primary.port))
        except StoreUnavailableError:
            continue
    await start
    await store.check()
    await store.close()


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql://me@db/a", (("db", 5432),)),
        ("postgresql://me@db1:5433,db2,[2001:db8::1]:6432/a", (("db1", 5433), ("db2", 5432), ("2001:db8::1", 6432))),
        ("postgresql:///a?host=/run/postgresql", (None,)),
    ],
)
def test_servers_are_read_from_the_url(url: str, servers: tuple[object, ...]) -> None:
    assert Address.of(url, None).servers == servers


@pytest.mark.parametrize("url", ["postgresql:///a", "postgresql://me@db,/a", "postgresql://me@:5432/a"])
def test_a_url_without_a_server_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="names no host"):
        Address.of(url, None)
