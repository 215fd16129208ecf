"""A whole authority, two nodes, and what becomes of it while its Redis is killed, hangs, or has forgotten everything."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretBytes, SecretStr
from structlog.testing import capture_logs
from tests.storage.store_things import event
from tests.support.redis import RedisServer, redis_server

from mintmark import bootstrap
from mintmark.authority import login
from mintmark.authority.core import Authority
from mintmark.authority.people import create_user
from mintmark.authority.ports import StoreUnavailableError
from mintmark.bootstrap.hearing import hearing
from mintmark.config import ConfigError, Settings
from mintmark.oauth.revocations import Revocation, RevocationKind
from mintmark.storage.redis import RedisConnection, RedisRevocationStream
from mintmark.storage.redis.nodes import prefix_of
from mintmark.system.clock import SystemClock, SystemRandomness

pytestmark = pytest.mark.slow

EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"
ISSUER = "https://id.example"
NO_HANGING = 60
"""Seconds within which whatever does not hang is over, on any machine."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As patient as these machines are slow: an answer that is late would be an outage."""
    defaults = RedisConnection.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "patience", 4.0)


def settings_of(folder: Path, redis: str, **more: Any) -> Settings:
    database = str(folder / "authority.sqlite3")
    return Settings(issuer=ISSUER, database=database, redis=redis, master_key=SecretBytes(bytes(32)), **more)


def lost(kind: RevocationKind, value: str) -> Revocation:
    return Revocation(kind=kind, value=value, expires_at=SystemClock().now() + 900)


@contextlib.asynccontextmanager
async def node(settings: Settings) -> AsyncIterator[Authority]:
    world = bootstrap.World(SystemClock(), SystemRandomness(), has_cheap_passwords=True)
    async with bootstrap.running(settings, world) as authority:
        yield authority


@pytest.fixture
async def nodes(tmp_path: Path, redis: RedisServer) -> AsyncIterator[list[Authority]]:
    settings = settings_of(tmp_path, redis.url)
    async with node(settings) as one, node(settings) as other:
        await create_user(one, email=EMAIL, password=PASSWORD)
        yield [one, other]


async def ready(authority: Authority) -> tuple[int, dict[str, Any]]:
    transport = httpx.ASGITransport(app=bootstrap.application(authority))
    async with httpx.AsyncClient(transport=transport, base_url="https://id.example") as http:
        answer = await http.get("/readyz")
    return answer.status_code, answer.json()


async def try_password(authority: Authority, password: str, address: str = "192.0.2.1") -> str:
    outcome = await login.sign_in(
        authority, email=EMAIL, password=password, address=address, user_agent="", cookie=None
    )
    if isinstance(outcome, login.SignedIn):
        return "in"
    return "slowed" if outcome.retry_after else "wrong"


async def until_ready(authority: Authority) -> None:
    async with asyncio.timeout(NO_HANGING):
        while await ready(authority) != (200, {"status": "ready"}):  # noqa: ASYNC110 - only the node knows
            await asyncio.sleep(0.05)


async def test_guesses_are_counted_by_all_nodes_together(nodes: list[Authority]) -> None:
    tried = [await try_password(nodes[number % 2], "wrong") for number in range(8)]
    assert tried == ["wrong"] * 5 + ["slowed"] * 3
    assert await try_password(nodes[0], PASSWORD) == "slowed"
    assert await try_password(nodes[1], PASSWORD, "198.51.100.7") == "in"


async def test_a_node_without_its_redis_is_ready_and_says_what_is_worse(
    nodes: list[Authority], redis: RedisServer
) -> None:
    assert await ready(nodes[0]) == (200, {"status": "ready"})
    redis.kill()
    status, body = await ready(nodes[0])
    assert (status, body["status"]) == (200, "ready")
    (line,) = body["degraded"]
    assert line.startswith("redis: ")
    shared = nodes[0].shared
    assert shared is not None
    assert (shared.is_up, shared.failures) == (False, 1)
    redis.start()
    await until_ready(nodes[0])
    assert shared.is_up


async def test_while_redis_is_away_each_node_counts_alone_and_people_sign_in(
    nodes: list[Authority], redis: RedisServer
) -> None:
    redis.kill()
    for one in nodes:
        assert [await try_password(one, "wrong") for _ in range(7)] == ["wrong"] * 5 + ["slowed"] * 2
        assert await try_password(one, PASSWORD, "198.51.100.7") == "in"
    redis.start()
    for one in nodes:
        await until_ready(one)
    tried = [await try_password(nodes[number % 2], "wrong") for number in range(8)]
    assert tried == ["wrong"] * 5 + ["slowed"] * 3


@pytest.mark.parametrize("is_fresh", [False, True])
async def test_nobody_hangs_with_redis(nodes: list[Authority], redis: RedisServer, is_fresh: bool) -> None:
    """It was stopped: connections are there, new ones are taken, and nothing is answered."""
    if not is_fresh:
        assert await try_password(nodes[0], PASSWORD) == "in"
    redis.pause()
    try:
        async with asyncio.timeout(NO_HANGING):
            tried = await asyncio.gather(*(try_password(nodes[0], PASSWORD, f"192.0.2.{n}") for n in range(20)))
            assert set(tried) == {"in"}
            assert "degraded" in (await ready(nodes[0]))[1]
    finally:
        redis.resume()
    await until_ready(nodes[0])


@pytest.mark.parametrize("loss", ["flush", "restart"])
async def test_what_redis_forgets_harms_nobody(nodes: list[Authority], redis: RedisServer, loss: str) -> None:
    assert [await try_password(nodes[0], "wrong") for _ in range(6)][-1] == "slowed"
    getattr(redis, loss)()
    await until_ready(nodes[0])
    assert await try_password(nodes[0], PASSWORD) == "in"


async def test_a_node_starts_without_its_redis(tmp_path: Path, redis: RedisServer) -> None:
    redis.kill()
    async with node(settings_of(tmp_path, redis.url)) as authority:
        assert "degraded" in (await ready(authority))[1]
        redis.start()
        await until_ready(authority)


@pytest.mark.parametrize(
    ("command", "key", "words"),
    [
        ("SET", "revocations", ["x"]),
        ("LPUSH", "revocations:epoch", ["x"]),
        ("SET", "revocations:epoch", ["a b"]),
        ("LPUSH", "revocations:whole", ["x"]),
        ("XADD", "revocations", ["*", "kind", "jti", "value", "v"]),
        ("XADD", "revocations", ["*", "kind", "jti", "value", "v", "before", "", "exp", "9" * 20]),
        ("XADD", "revocations", ["*", "kind", "kid", "value", "v\udcff", "before", "", "exp", "9" * 10]),
    ],
)
async def test_a_node_starts_whatever_is_in_its_redis(
    tmp_path: Path, redis: RedisServer, command: str, key: str, words: list[str]
) -> None:
    redis.cli(command, prefix_of(ISSUER) + key, *words)
    with capture_logs() as lines:
        async with node(settings_of(tmp_path, redis.url)) as authority, hearing(authority):
            await authority.store.revocations.add(lost("jti", "a token"), event())
            async with asyncio.timeout(NO_HANGING):
                while not authority.denylist.revokes({"jti": "a token"}, "k"):  # noqa: ASYNC110 - only the node knows
                    await asyncio.sleep(0.05)
            assert (await ready(authority))[0] == 200
            assert len(authority.denylist) == 1
    said = [line["event"] for line in lines]
    assert "upkeep failed" not in said
    assert "starts before the store knows all revocations" not in said
    assert said.count("redis does not answer") <= 1


async def until_published(url: str, values: set[str]) -> None:
    connection = RedisConnection(url, issuer=ISSUER)
    stream = RedisRevocationStream(connection)
    async with asyncio.timeout(NO_HANGING):
        while True:
            with contextlib.suppress(StoreUnavailableError):
                if {entry.value for entry in (await stream.after("", 0))[1]} == values:
                    break
            await asyncio.sleep(0.05)
    await connection.close()


@pytest.mark.spec("invariant I11")
async def test_a_redis_that_comes_back_with_old_data_soon_has_all_of_it(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with node(settings_of(tmp_path, server.url)) as authority, hearing(authority):
            await authority.store.revocations.add(lost("jti", "one"), event())
            await until_published(server.url, {"one"})
            assert server.cli("SAVE") == "OK"
            await authority.store.revocations.add(lost("jti", "two"), event())
            await authority.store.revocations.add(lost("gid", "three"), event())
            await until_published(server.url, {"one", "two", "three"})
            server.restart()
            await until_published(server.url, {"one", "two", "three"})
            await until_ready(authority)


async def test_the_password_is_taken_from_its_own_setting(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", password="correct horse") as server:
        for password, is_degraded in (("correct horse", False), ("wrong horse", True)):
            async with node(settings_of(tmp_path, server.url, redis_password=SecretStr(password))) as authority:
                assert ("degraded" in (await ready(authority))[1]) is is_degraded


class NoRedis:
    """Finds that there is no package of that name."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "redis":
            raise ModuleNotFoundError("No module named 'redis'", name="redis")


async def test_the_package_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("mintmark.storage.redis", raising=False)
    for name in [name for name in sys.modules if f"{name}.".startswith(("mintmark.storage.redis.", "redis."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoRedis(), *sys.meta_path])
    with pytest.raises(ConfigError, match="the extra `redis`"):
        async with node(settings_of(tmp_path, "redis://redis.example")):
            pass
    async with node(settings_of(tmp_path, "")) as authority:
        assert authority.shared is None
