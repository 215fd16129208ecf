"""Every statement that a request or the upkeep waits for finds its rows by an index."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from tests.storage.store_things import NOW
from tests.support.postgres import PostgreSQL

from mintmark.authority.ports import GrantSelector
from mintmark.storage import statements
from mintmark.storage.postgresql import grants as texts
from mintmark.storage.postgresql.connections import numbered

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MANY = 100_000
BATCH = 100


FILL = f"""
    INSERT INTO grants (id, client_id, subject, salt, generation, "authorization", created_at, advanced_at,
      idle_expires_at, expires_at, access_expires_at, replays, sweep_at)
    SELECT decode(md5(n::text), 'hex'), 'shop', md5((n % 9000)::text), '', 1, '', {NOW}, {NOW}, {NOW} + n, {NOW} + n,
      {NOW}, 0, {NOW} + n FROM generate_series(1, {MANY}) n;
    INSERT INTO sessions SELECT decode(md5(n::text), 'hex'), md5(n::text), md5((n % 9000)::text), {NOW}, '', '', '',
      {NOW} + n, {NOW} + 2 * n FROM generate_series(1, {MANY}) n;
    INSERT INTO revocations SELECT n, 'gid', '', NULL, {NOW} + n FROM generate_series(1, {MANY}) n;
"""


@pytest.fixture(scope="module")
def full(postgresql_server: PostgreSQL) -> Iterator[str]:
    """A database with so much in it that an index is worth it."""
    url = postgresql_server.empty_database("full")
    postgresql_server.execute(FILL, "full")
    postgresql_server.execute("ANALYZE", "full")
    yield url
    postgresql_server.drop_database("full")


@pytest.fixture
async def connection(full: str) -> AsyncIterator[Any]:
    made = await asyncpg.connect(full)
    yield made
    await made.close()


async def plan_of(connection: Any, text: str, parameters: tuple[Any, ...]) -> str:
    """The plan for these values, and the plan for any, which a prepared statement may turn to."""
    plans = []
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"SET plan_cache_mode = {mode}")
        plans += [row[0] for row in await connection.fetch(f"EXPLAIN {numbered(text)}", *parameters)]
    return "\n".join(plans)


SELECTORS = {
    "id": GrantSelector(id=b"0" * 16),
    "subject": GrantSelector(subject="usr_ada"),
    "subject and client": GrantSelector(subject="usr_ada", client_id="shop"),
    "subject and session": GrantSelector(subject="usr_ada", sid="sid1"),
}
STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "get": (statements.GRANT_GET, (b"0" * 16,)),
    "advance": (statements.GRANT_ADVANCE, (b"0" * 16, 0, 1, NOW, NOW, NOW, 0)),
    "session": (statements.SESSION_GET, (b"0" * 32,)),
    "sessions of": (statements.SESSIONS_OF, ("usr_ada",)),
    "revocations after": (statements.REVOCATIONS_AFTER, (MANY - 10, 100)),
    **{f"live by {name}": statements.grants_live(each, NOW, texts._BY_SUBJECT) for name, each in SELECTORS.items()},
    **{f"end by {name}": statements.grants_to_end(each, texts._BY_SUBJECT) for name, each in SELECTORS.items()},
}


async def test_no_request_reads_a_table_from_end_to_end(connection: Any) -> None:
    for name, (text, parameters) in STATEMENTS.items():
        plan = await plan_of(connection, text, parameters)
        assert "Seq Scan" not in plan, f"{name}:\n{plan}"
        assert "Index" in plan


async def test_a_selector_without_an_index_does(connection: Any) -> None:
    """The positive twin: the test above would see it."""
    text, parameters = statements.grants_live(GrantSelector(client_id="nobody"), NOW)
    assert "Seq Scan on grants" in await plan_of(connection, text, parameters)


@pytest.mark.parametrize(
    "kind", ["grants_postponed", "grants_ended", "grants_expired", "sessions_expired", "revocations"]
)
async def test_a_batch_of_the_cleanup_reads_no_more_than_it_may_remove(connection: Any, kind: str) -> None:
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    lines = await connection.fetch(f"EXPLAIN {numbered(statements.SWEEPS[kind])}", NOW + MANY // 2, BATCH)
    plan = "\n".join(row[0] for row in lines)
    assert "Seq Scan" not in plan, plan
    assert "Limit" in plan
