"""One suite for what may be presented once: in memory, by Redis, by a Redis Cluster."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.storage.redis.places import KEYS, RedisPlace
from tests.support.redis import RedisCluster, RedisServer
from tests.support.world import FixedClock

from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.sharing import Replays
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY
from mintmark.storage.redis import RedisReplays
from mintmark.system.replaying import MemoryReplays

AT = 1_700_000_000


@dataclass
class Case:
    """What is remembered, by a few nodes, and their time."""

    nodes: list[Replays]
    clock: FixedClock


@pytest.fixture(
    params=["memory", pytest.param("redis", marks=pytest.mark.slow), pytest.param("cluster", marks=pytest.mark.slow)]
)
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    clock = FixedClock(AT)
    if request.param == "memory":
        yield Case([MemoryReplays(clock)], clock)
        return
    servers: RedisServer | RedisCluster = request.getfixturevalue(
        "redis" if request.param == "redis" else "redis_nodes"
    )
    place = RedisPlace(servers)
    yield Case([RedisReplays(place.connect(), clock) for _ in range(3)], clock)
    await place.close()


async def test_the_first_time_is_the_only_one(case: Case) -> None:
    seen = [await node.is_first("assertion", "jti", AT + 60) for node in case.nodes * 3]
    assert seen == [True] + [False] * (len(seen) - 1)


async def test_each_purpose_and_each_thing_is_remembered_alone(case: Case) -> None:
    replays = case.nodes[0]
    assert await replays.is_first("assertion", "one", AT + 60)
    assert await replays.is_first("assertion", "two", AT + 60)
    assert await replays.is_first("proof", "one", AT + 60)
    assert await replays.is_first("assertion", "one\udce9 €" * 100, AT + 60)
    assert not await replays.is_first("assertion", "one", AT + 60)


async def test_many_at_once_have_one_first(case: Case) -> None:
    firsts = await asyncio.gather(*(node.is_first("assertion", "jti", AT + 60) for node in case.nodes * 20))
    assert firsts.count(True) == 1


async def test_what_is_over_already_is_remembered_nevertheless(case: Case) -> None:
    """Whoever lets it pass has a reason."""
    assert await case.nodes[0].is_first("assertion", "jti", AT - 10_000)
    assert not await case.nodes[0].is_first("assertion", "jti", AT - 10_000)


async def test_memory_forgets_when_no_clock_could_let_it_pass() -> None:
    clock = FixedClock(AT)
    replays = MemoryReplays(clock)
    assert await replays.is_first("assertion", "jti", AT + 60)
    clock.advance(60 + KEPT_BEYOND_EXPIRY - 1)
    assert not await replays.is_first("assertion", "jti", AT + 60)
    clock.advance(1)
    assert await replays.is_first("assertion", "jti", AT + 60)
    clock.advance(10_000)
    await replays.is_first("assertion", "another", clock.at)
    assert len(replays) == 1


@pytest.mark.slow
async def test_redis_forgets_when_no_clock_could_let_it_pass_and_knows_no_names(place: RedisPlace) -> None:
    assert await RedisReplays(place.connect(), FixedClock(AT)).is_first("assertion", "secret jti", AT + 60)
    (key,) = place.all_keys()
    assert key.startswith(f"{KEYS}seen:assertion:")
    assert "jti" not in key
    lifetime = (60 + KEPT_BEYOND_EXPIRY) * 1000
    assert lifetime - 30_000 < int(place.keeper.cli("PTTL", key)) <= lifetime


@pytest.mark.slow
@pytest.mark.spec("invariant I4")
async def test_while_redis_is_away_nobody_knows(place: RedisPlace) -> None:
    replays = RedisReplays(place.connect(), FixedClock(AT))
    assert await replays.is_first("assertion", "one", AT + 60)
    place.keeper.kill()
    for what in ("one", "two"):
        with pytest.raises(StoreUnavailableError):
            await replays.is_first("assertion", what, AT + 60)
    place.restart()
    place.monotonic.advance(2)
    assert await replays.is_first("assertion", "two", AT + 60)
