"""A node killed between the commit of a revocation and its publication loses none (invariant I6): the store is the outbox."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretBytes
from tests.support.redis import RedisServer
from tests.unit.cli.processes import clean_environment

from mintmark import bootstrap
from mintmark.bootstrap.hearing import hearing
from mintmark.config import Settings
from mintmark.oauth.revocations import Revocation
from mintmark.storage.redis import RedisConnection, RedisRevocationStream

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.spec("invariant I6")]
ROOT: Final = Path(__file__).resolve().parents[2]
ISSUER: Final = "http://127.0.0.1:9"
_SECONDS: Final = 60


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> dict[str, Any]:
    """Settings of all nodes, but the master key."""
    is_file = request.param == "sqlite"
    database = str(tmp_path / "mintmark.sqlite3") if is_file else request.getfixturevalue("postgresql_url")
    return {"issuer": ISSUER, "database": database, "redis": redis.url}


async def killed(settings: dict[str, Any], what: str) -> dict[str, str]:
    """Run a node that revokes and dies of it; return what it revoked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.e2e.committing", json.dumps(settings), what),
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, problems = await process.communicate()
    assert process.returncode == -signal.SIGKILL, problems.decode()
    revoked: dict[str, str] = json.loads(said.splitlines()[-1])
    return revoked


async def published(redis: RedisServer) -> list[Revocation]:
    connection = RedisConnection(redis.url, issuer=ISSUER)
    try:
        _, entries = await RedisRevocationStream(connection).after("", 0)
        return entries
    finally:
        await connection.close()


async def until_published(redis: RedisServer) -> Revocation:
    async with asyncio.timeout(_SECONDS):
        while not (entries := await published(redis)):  # noqa: ASYNC110 - in Redis, by whichever node
            await asyncio.sleep(0.05)
    (entry,) = entries
    return entry


@pytest.mark.parametrize("what", ["grant", "access_token"])
async def test_the_next_node_to_start_publishes_what_a_killed_one_had_committed(
    settings: dict[str, Any], redis: RedisServer, what: str
) -> None:
    revoked = await killed(settings, what)
    assert await published(redis) == []
    async with (
        bootstrap.running(Settings(**settings, master_key=SecretBytes(bytes(32)))) as authority,
        hearing(authority),
    ):
        entry = await until_published(redis)
        assert entry.kind == ("gid" if what == "grant" else "jti")
        if what == "grant":
            assert authority.denylist.has_ended(revoked["gid"])


async def test_a_node_that_runs_publishes_what_a_killed_one_had_committed(
    settings: dict[str, Any], redis: RedisServer
) -> None:
    async with (
        bootstrap.running(Settings(**settings, master_key=SecretBytes(bytes(32)))) as authority,
        hearing(authority),
    ):
        revoked = await killed(settings, "grant")
        entry = await until_published(redis)
        assert (entry.kind, entry.value) == ("gid", revoked["gid"])
        assert authority.denylist.has_ended(revoked["gid"])
