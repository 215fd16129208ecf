"""What has expired is removed batch by batch, told of and counted."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.storage.store_things import NOW, event, session
from tests.support.feed import TroubledStore
from tests.support.upkeeping import INTERVAL, LATER, Time, fill, grants_left, holder, node

from mintmark.authority.denylist import Denylist
from mintmark.authority.leadership import UPKEEP
from mintmark.storage.memory import MemoryStore

pytestmark = pytest.mark.spec("invariant I10")


async def test_a_cleanup_that_is_behind_goes_on_batch_by_batch_and_takes_half_of_the_time_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner, time = MemoryStore(), Time()
    store = TroubledStore(inner)
    one = await node(store.as_store(), time, "one", batch=10)
    await one.tick()
    await fill(inner, 34)
    one.clock.at, time.at = LATER, time.at + INTERVAL
    busy, slept = list[float](), list[float]()

    async def slow_sweep() -> dict[str, int]:
        busy.append(2.0)
        time.at += 2.0
        return await inner.sweep(LATER, 10, await inner.leases.get(UPKEEP))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.at += seconds

    store.troubles["sweep"] = slow_sweep
    forgot = list[int]()

    def forget(_: Denylist, now: int) -> int:
        forgot.append(now)
        return 0

    monkeypatch.setattr(Denylist, "forget", forget)
    monkeypatch.setattr("asyncio.sleep", sleep)
    with capture_logs() as logs:
        await one.tick()
    assert len(busy) == 4
    assert len(forgot) <= 2  # a walk through all that the node knows, on the event loop
    assert slept == [2.0, 2.0, 2.0]
    assert await grants_left(inner, 34) == 0
    # One event for all of it, the lease renewed meanwhile, and the next cleanup an interval later.
    (told,) = (entry for entry in logs if entry["event"] == "upkeep")
    assert told["grants_expired"] == 34
    found = await inner.leases.get(UPKEEP)
    assert found is not None
    assert found.beat >= 2
    await one.tick()
    assert len(busy) == 4


async def test_a_long_cleanup_is_told_of_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, time = MemoryStore(), Time()
    store = TroubledStore(inner)
    one = await node(store.as_store(), time, "one", batch=10)
    await one.tick()
    await fill(inner, 95)
    one.clock.at, time.at = LATER, time.at + INTERVAL

    async def slow_sweep() -> dict[str, int]:
        time.at += INTERVAL / 4
        return await inner.sweep(LATER, 10, await inner.leases.get(UPKEEP))

    async def sleep(seconds: float) -> None:
        time.at += seconds

    store.troubles["sweep"] = slow_sweep
    monkeypatch.setattr("asyncio.sleep", sleep)
    with capture_logs() as logs:
        await one.tick()
    told = [entry["grants_expired"] for entry in logs if entry["event"] == "upkeep"]
    # A batch and the pause after it take half an interval.
    assert told == [30, 20, 20, 20, 5]


async def test_who_loses_the_lease_in_the_middle_of_a_long_cleanup_stops() -> None:
    inner, time = MemoryStore(), Time()
    store = TroubledStore(inner)
    one = await node(store.as_store(), time, "one", batch=10)
    await one.tick()
    await fill(inner, 95)
    one.clock.at, time.at = LATER, time.at + INTERVAL
    swept = 0

    async def sweep_and_lose() -> dict[str, int]:
        nonlocal swept
        swept += 1
        seen = await inner.leases.get(UPKEEP)
        assert seen is not None
        done = await inner.sweep(LATER, 10, seen)
        if swept == 3:
            await inner.leases.put(seen, replace(seen, holder="two", fence=seen.fence + 1))
        return done

    store.troubles["sweep"] = sweep_and_lose
    with capture_logs() as logs:
        await one.tick()
        await one.tick()
    assert swept == 3
    assert [entry["grants_expired"] for entry in logs if entry["event"] == "upkeep"] == [30]
    assert await holder(inner) == "two"


async def test_what_expired_is_counted_by_kind() -> None:
    store, time = MemoryStore(), Time()
    one = await node(store, time, "one")
    await one.tick()
    await fill(store, 3)
    await fill(store, 2, ended_at=NOW, end_reason="signed out")
    await store.sessions.add(session(), replaces=None, audit=event())
    one.clock.at, time.at = LATER, time.at + INTERVAL
    with capture_logs() as logs:
        await one.tick()
    kinds = {"grants_expired": 3, "grants_ended": 2, "sessions_expired": 1, "keys": 1}
    assert {kind: count for kind, count in one.authority.expired.items() if count} == kinds
    (told,) = (entry for entry in logs if entry["event"] == "upkeep")
    assert told.items() >= kinds.items()


async def test_a_cleanup_that_found_nothing_says_nothing() -> None:
    store, time = MemoryStore(), Time()
    one = await node(store, time, "one")
    with capture_logs() as logs:
        for _ in range(5):
            await one.tick()
            time.at += INTERVAL
    assert [entry["event"] for entry in logs] == ["leads the upkeep"]
