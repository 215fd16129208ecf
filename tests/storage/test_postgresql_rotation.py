"""What a rotation costs PostgreSQL: one read and one conditional write, and no index."""

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator

import pytest
from tests.storage.store_things import NOW, authorization, event, grant, grant_id, refreshed, step
from tests.support.pgbouncer import pgbouncer, through
from tests.support.postgres import PostgreSQL, postgresql
from tests.support.telling import tell

from mintmark.jose import base64url
from mintmark.storage.moving import TABLES
from mintmark.storage.postgresql import PostgreSQLStore
from mintmark.storage.postgresql.moving import writing
from mintmark.storage.rows import grant_to_row

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GRANTS = next(table for table in TABLES if table.name == "grants")
MANY = 100_000
BYTES_PER_GRANT = 400


@pytest.fixture(scope="module")
def talkative() -> Iterator[PostgreSQL]:
    """A server that writes down every statement."""
    with postgresql(
        fsync=False, settings={"log_statement": "all", "log_line_prefix": "", "autovacuum": "off"}
    ) as server:
        yield server


def asked(server: PostgreSQL, since: int) -> list[str]:
    """The statements that the server was asked since then, by their first words."""
    said = server.log.read_text()[since:]
    # A pooler gives its connection our encoding when it needs to.
    said = re.sub(r"^LOG: +statement: SET client_encoding=.*$", "", said, flags=re.MULTILINE)
    found = re.findall(
        r"^LOG: +(?:statement|execute (?:<unnamed>|mintmark_\d+)): +(?:\s*)(\w+ ?\w*)", said, re.MULTILINE
    )
    return [words.upper() for words in found]


async def rotate(store: PostgreSQLStore, generation: int) -> None:
    assert await store.grants.get(grant_id("g")) is not None
    assert await store.grants.advance(step("g", generation))


@pytest.mark.parametrize("is_pooled", [False, True], ids=["directly", "behind a pooler"])
async def test_a_rotation_is_one_read_and_one_conditional_write(talkative: PostgreSQL, is_pooled: bool) -> None:
    database = f"rotation_{is_pooled}".lower()
    url = talkative.empty_database(database)
    with pgbouncer(talkative, size=2) as port:
        store = await PostgreSQLStore.open(through(url, port) if is_pooled else url, connections=1)
        await store.grants.add(grant(), event())
        await rotate(store, 0)  # from here on, both statements are known to the connection
        since = len(talkative.log.read_text())
        for generation in range(1, 4):
            await rotate(store, generation)
        await store.close()
        assert asked(talkative, since) == ["SELECT ID", "UPDATE GRANTS"] * 3


async def test_what_must_be_whole_is_one_transaction(talkative: PostgreSQL) -> None:
    """The positive twin: where there is more than one statement, the server sees where they begin and end."""
    store = await PostgreSQLStore.open(talkative.empty_database("whole"), connections=1)
    since = len(talkative.log.read_text())
    await store.grants.add(grant(), event())
    await store.close()
    assert asked(talkative, since) == ["BEGIN ISOLATION", "INSERT INTO", "INSERT INTO", "COMMIT"]


async def test_steps_touch_no_index(talkative: PostgreSQL) -> None:
    """HOT: the new version of a row stays in its page, where there is room for one."""
    store = await PostgreSQLStore.open(talkative.empty_database("hot"), connections=4)
    names = range(400)
    for name in names:
        await store.grants.add(grant(name), event())
    for generation in range(5):
        await asyncio.gather(*(store.grants.advance(step(name, generation)) for name in names))
    await store.close()
    updated, hot = 0, 0
    deadline = time.monotonic() + 30
    while updated < 5 * len(names) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        (line,) = talkative.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'grants'", "hot"
        )
        updated, hot = map(int, line.split("|"))
    assert updated == 5 * len(names)
    assert hot >= 0.95 * updated


async def test_a_live_grant_is_small(postgresql_server: PostgreSQL, request: pytest.FixtureRequest) -> None:
    url = postgresql_server.empty_database("many")
    rows = [_typical(number) for number in range(MANY)]
    async with writing(url) as target:
        for first in range(0, MANY, 2000):
            await target.add(GRANTS, tuple(GRANTS.columns), rows[first : first + 2000])
    (line,) = postgresql_server.execute(
        "SELECT pg_total_relation_size('grants'), pg_relation_size('grants'), pg_indexes_size('grants')", "many"
    )
    postgresql_server.drop_database("many")
    total, table, indexes = (int(part) / MANY for part in line.split("|"))
    tell(request, f"{total:.0f} bytes per live grant: {table:.0f} in the table, {indexes:.0f} in its indexes")
    assert total <= BYTES_PER_GRANT


def _typical(number: int) -> tuple[object, ...]:
    def name(kind: str) -> str:
        return base64url.encode(hashlib.sha256(f"{kind}{number}".encode()).digest()[:16])

    return grant_to_row(
        refreshed(
            number,
            client_id="web-shop",
            subject=f"usr_{name('subject')}",
            sid=name("sid"),
            created_at=NOW + number // 50,
            authorization=authorization(
                scope=("openid", "profile", "email", "offline_access"),
                resources=("https://api.example.com",),
                amr=("pwd",),
                claims={},
            ),
        )
    )
