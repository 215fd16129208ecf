"""One suite for all limiters: in memory, by Redis, by a Redis Cluster. Time moves when it is told to."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.storage.redis.places import KEYS, RedisClock, RedisPlace, told_the_time
from tests.support.redis import RedisCluster, RedisServer
from tests.support.world import FixedClock

from mintmark.authority.sharing import Limiter
from mintmark.storage.redis import RedisLimiter, limiting
from mintmark.system.limiting import MemoryLimiter

AT = 1_700_000_000
PERIOD = 30


@dataclass
class Case:
    """A limiter and its time."""

    limiter: Limiter
    clock: FixedClock

    async def take(self, who: str = "ada", purpose: str = "sign-in", *, burst: int = 5, period: int = PERIOD) -> int:
        return await self.limiter.take(purpose, who, burst=burst, period=period)

    async def give_back(self, who: str = "ada", purpose: str = "sign-in") -> None:
        await self.limiter.give_back(purpose, who, period=PERIOD)


@pytest.fixture(
    params=["memory", pytest.param("redis", marks=pytest.mark.slow), pytest.param("cluster", marks=pytest.mark.slow)]
)
async def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    if request.param == "memory":
        clock = FixedClock(AT)
        yield Case(MemoryLimiter(clock), clock)
        return
    told_the_time(monkeypatch, limiting, "_TAKE")
    servers: RedisServer | RedisCluster = request.getfixturevalue(
        "redis" if request.param == "redis" else "redis_nodes"
    )
    place = RedisPlace(servers)
    yield Case(RedisLimiter(place.connect(), Nobody()), RedisClock(place, AT))
    await place.close()


class Nobody:
    """Takes the place of the limiter for while Redis is away, which it is not."""

    async def take(self, purpose: str, who: str, *, burst: int, period: int) -> int:
        raise AssertionError("redis was away")

    async def give_back(self, purpose: str, who: str, *, period: int) -> None:
        raise AssertionError("redis was away")


@pytest.mark.parametrize("burst", [1, 2, 5])
async def test_a_burst_is_free_then_one_each_period(case: Case, burst: int) -> None:
    assert [await case.take(burst=burst) for _ in range(burst + 2)] == [0] * burst + [PERIOD] * 2
    case.clock.advance(PERIOD - 1)
    assert await case.take(burst=burst) == 1
    case.clock.advance(1)
    assert [await case.take(burst=burst) for _ in range(2)] == [0, PERIOD]


async def test_what_is_refused_costs_nothing(case: Case) -> None:
    for _ in range(5):
        await case.take()
    assert [await case.take() for _ in range(50)] == [PERIOD] * 50
    case.clock.advance(PERIOD)
    assert await case.take() == 0


async def test_rest_restores_the_burst_and_no_more(case: Case) -> None:
    for _ in range(5):
        await case.take()
    case.clock.advance(2 * PERIOD)
    assert [await case.take() for _ in range(3)] == [0, 0, PERIOD]
    case.clock.advance(1000 * PERIOD)
    assert [await case.take() for _ in range(6)] == [0] * 5 + [PERIOD]


async def test_a_charge_taken_back_was_none(case: Case) -> None:
    for _ in range(20):
        assert await case.take() == 0
        await case.give_back()
    assert [await case.take() for _ in range(6)] == [0] * 5 + [PERIOD]
    await case.give_back()
    assert [await case.take() for _ in range(2)] == [0, PERIOD]


async def test_what_was_never_charged_gives_no_credit(case: Case) -> None:
    for _ in range(3):
        await case.give_back()
    assert [await case.take() for _ in range(6)] == [0] * 5 + [PERIOD]


async def test_credit_beyond_the_burst_is_lost(case: Case) -> None:
    await case.take()
    for _ in range(3):
        await case.give_back()
    assert [await case.take() for _ in range(6)] == [0] * 5 + [PERIOD]


async def test_each_purpose_and_each_key_counts_alone(case: Case) -> None:
    assert [await case.take(burst=1) for _ in range(2)] == [0, PERIOD]
    assert await case.take("bob", burst=1) == 0
    assert await case.take(purpose="password", burst=1) == 0
    assert await case.take("ada\udce9 €", burst=1) == 0
    assert await case.take(burst=1) == PERIOD


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_redis_answers_as_memory_does(place: RedisPlace, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever happens in whatever order, and long after keys of Redis are gone."""
    told_the_time(monkeypatch, limiting, "_TAKE")
    chance, clock = random.Random(seed), RedisClock(place, AT)
    limiters: list[Limiter] = [MemoryLimiter(clock), RedisLimiter(place.connect(), Nobody())]
    for step in range(400):
        who, (burst, period) = chance.choice("abc"), chance.choice([(1, 1), (5, 30), (20, 3), (300, 1)])
        purpose = f"{burst} {period}"
        match chance.randrange(10):
            case 0:
                clock.advance(chance.choice([0, 1, 2, period, burst * period, 5000]))
            case 1 | 2:
                for limiter in limiters:
                    await limiter.give_back(purpose, who, period=period)
            case _:
                answers = [await limiter.take(purpose, who, burst=burst, period=period) for limiter in limiters]
                assert answers[0] == answers[1], step


@pytest.mark.slow
async def test_all_nodes_count_together_whatever_their_clocks_say(place: RedisPlace) -> None:
    """A hundred attempts at once, by four nodes whose clocks are an hour apart: the burst passes, and nothing else."""
    nodes = [RedisLimiter(place.connect(), MemoryLimiter(FixedClock(AT + 3600 * number))) for number in range(4)]
    turns = [node for node in nodes for _ in range(25)]
    waits = await asyncio.gather(*(node.take("sign-in", "ada", burst=7, period=1000) for node in turns))
    assert waits.count(0) == 7
    assert all(900 < wait <= 1000 for wait in waits if wait)
    await nodes[0].give_back("sign-in", "ada", period=1000)
    again = await asyncio.gather(*(node.take("sign-in", "ada", burst=7, period=1000) for node in nodes))
    assert again.count(0) == 1


@pytest.mark.slow
async def test_a_key_of_redis_lives_as_long_as_it_means_something_and_names_nobody(place: RedisPlace) -> None:
    limiter = RedisLimiter(place.connect(), Nobody())
    await limiter.give_back("sign-in", "192.0.2.1 ada@example.com", period=30)
    assert place.all_keys() == []
    await limiter.take("sign-in", "192.0.2.1 ada@example.com", burst=5, period=30)
    (key,) = place.all_keys()
    assert key.startswith(f"{KEYS}limit:sign-in:")
    assert "ada" not in key
    assert "192" not in key
    assert 0 < int(place.keeper.cli("PTTL", key)) <= 30_000
    for _ in range(4):
        await limiter.take("sign-in", "192.0.2.1 ada@example.com", burst=5, period=30)
    assert 120_000 < int(place.keeper.cli("PTTL", key)) <= 150_000
    await limiter.give_back("sign-in", "192.0.2.1 ada@example.com", period=30)
    assert 120_000 < int(place.keeper.cli("PTTL", key)) <= 150_000


@pytest.mark.slow
async def test_while_redis_is_away_each_node_counts_by_itself(place: RedisPlace) -> None:
    async def count(node: RedisLimiter) -> int:
        return [await node.take("sign-in", "ada", burst=3, period=1000) for _ in range(5)].count(0)

    nodes = [RedisLimiter(place.connect(), MemoryLimiter(FixedClock(AT))) for _ in range(2)]
    assert [await count(node) for node in nodes] == [3, 0]
    place.keeper.kill()
    assert [await count(node) for node in nodes] == [3, 3]
    await nodes[0].give_back("sign-in", "ada", period=1000)
    assert [await count(node) for node in nodes] == [1, 0]
    place.restart()
    place.monotonic.advance(2)
    assert [await count(node) for node in nodes] == [3, 0]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["FLUSHALL", "SCRIPT FLUSH", "restart"])
async def test_it_goes_on_after_redis_has_forgotten(place: RedisPlace, loss: str) -> None:
    limiter = RedisLimiter(place.connect(), Nobody())
    assert await limiter.take("sign-in", "ada", burst=1, period=1000) == 0
    if loss == "restart":
        place.restart()
        for _ in range(3):
            await asyncio.sleep(0)  # the end of the connection is heard of
    else:
        place.keeper.cli(*loss.split())
    waits = [await limiter.take("sign-in", "ada", burst=1, period=1000) for _ in range(2)]
    assert (waits[0] == 0) is (loss != "SCRIPT FLUSH")
    assert waits[1] > 900
    await limiter.give_back("sign-in", "ada", period=1000)
