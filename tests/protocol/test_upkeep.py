"""The upkeep of several nodes on one store: one does it, another takes over, and who was superseded writes nothing."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.storage.store_things import NOW, event, lease, revocation
from tests.support.failing import FailingStore
from tests.support.feed import TroubledStore
from tests.support.upkeeping import INTERVAL, LATER, POLICY, StoreWithPause, Time, fill, grants_left, holder, node
from tests.support.world import SeededRandomness

from mintmark import bootstrap
from mintmark.authority import keyring as keyrings
from mintmark.authority import keys as schedule
from mintmark.authority.leadership import LEASE_PATIENCE, RENEW_EVERY, UPKEEP
from mintmark.authority.ports import StoreUnavailableError
from mintmark.bootstrap import upkeep as work
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY
from mintmark.storage.memory import MemoryStore


async def test_a_node_that_is_alone_leads_and_cleans_up_from_its_first_tick() -> None:
    store, time = MemoryStore(), Time()
    one = await node(store, time, "one")
    await fill(store, 3)
    one.clock.at = LATER
    await one.tick()
    assert await holder(store) == "one"
    assert await grants_left(store, 3) == 0


async def test_of_two_nodes_one_cleans_up_and_both_forget_what_is_over() -> None:
    store, time = TroubledStore(MemoryStore()), Time()
    nodes = [await node(store.as_store(), time, name) for name in ("one", "two")]
    await store.revocations.add(revocation(expires_at=NOW + 10), event())
    for each in nodes:
        await each.authority.denylist.pull(each.authority.store)
        assert len(each.authority.denylist) == 1
        each.clock.at = NOW + 10 + KEPT_BEYOND_EXPIRY
    store.watch()
    for each in nodes:
        await each.tick()
    assert store.calls.count("sweep") == 1
    assert [len(each.authority.denylist) for each in nodes] == [0, 0]
    assert [each.authority.expired["denylist_entries"] for each in nodes] == [1, 1]
    assert [each.authority.expired["revocations"] for each in nodes] == [1, 0]


async def test_another_takes_over_after_the_patience_and_not_before() -> None:
    store, time = MemoryStore(), Time()
    one, two = await node(store, time, "one"), await node(store, time, "two")
    await one.tick()
    while time.at < LEASE_PATIENCE - 1:
        await two.tick()
        time.at += 1
        assert await holder(store) == "one"
    await two.tick()
    time.at += 1
    await two.tick()
    assert await holder(store) == "two"
    await fill(store, 3)
    two.clock.at = LATER
    time.at += INTERVAL
    await two.tick()
    assert await grants_left(store, 3) == 0


async def test_nobody_takes_over_from_a_leader_that_ticks() -> None:
    store, time = MemoryStore(), Time()
    nodes = [await node(store, time, name) for name in ("one", "two", "three")]
    for _ in range(100):
        for each in nodes:
            await each.tick()
        time.at += 1
    found = await store.leases.get(UPKEEP)
    assert found is not None
    assert (found.holder, found.fence) == ("one", 1)
    assert 100 / RENEW_EVERY / 2 < found.beat <= 100 / RENEW_EVERY


async def test_a_leader_that_stops_gives_the_lease_up_and_the_next_does_not_wait() -> None:
    store, time = MemoryStore(), Time()
    one, two = await node(store, time, "one"), await node(store, time, "two")
    await one.tick()
    await two.tick()
    assert [each.authority.meter.leads for each in (one, two)] == [True, False]
    await two.upkeep.leave()  # who does not lead changes nothing
    assert await holder(store) == "one"
    await one.upkeep.leave()
    await two.tick()
    assert [each.authority.meter.leads for each in (one, two)] == [False, True]
    assert await store.leases.get(UPKEEP) == lease("two", fence=2)


async def test_chores_give_the_lease_up_when_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mintmark.bootstrap.working._LOOK_EVERY", 0.0)
    store = MemoryStore()
    one = await node(store, Time(), "one")
    async with bootstrap.chores(one.authority, cleanup_interval=60, cleanup_batch=10), asyncio.timeout(10):
        while not await holder(store):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0)
    found = await store.leases.get(UPKEEP)
    assert found is not None
    assert (found.holder, found.fence) == ("", 1)


async def test_a_node_can_stop_while_the_store_is_away() -> None:
    store, time = FailingStore(MemoryStore()), Time()
    one = await node(store.as_store(), time, "one")
    await one.tick()
    store.watch(fail_at=0)
    await one.candidate.leave()
    assert store.calls == ["leases.get"]


@pytest.mark.spec("I9")
@pytest.mark.parametrize("verb", ["keys.change", "sweep"])
async def test_a_leader_superseded_before_its_write_arrives_writes_nothing_and_steps_down(verb: str) -> None:
    store, time = MemoryStore(), Time()
    paused = StoreWithPause(store)
    one = await node(paused.as_store(), time, "one")
    await one.tick()
    await fill(store, 3)
    one.clock.at, time.at = LATER, time.at + INTERVAL

    async def take_over() -> None:
        seen = await store.leases.get(UPKEEP)
        assert seen is not None
        await store.leases.put(seen, lease("two", fence=seen.fence + 1))

    paused.pause_at, paused.meanwhile = verb, take_over
    with capture_logs() as logs:
        await one.tick()
    assert [entry["event"] for entry in logs] == ["superseded"]
    assert await grants_left(store, 3) == 3
    scheduled = [each.event for each in await store.audit.latest(100)].count("keys.scheduled")
    assert scheduled == (1 if verb == "keys.change" else 2)
    with capture_logs() as logs:
        await one.tick()
    assert [entry["event"] for entry in logs] == ["no longer leads the upkeep"]
    assert await holder(store) == "two"
    assert await grants_left(store, 3) == 3


@pytest.mark.parametrize("does_the_work", [False, True], ids=["not renewed", "renewed"])
async def test_a_renewal_whose_outcome_nobody_knows_loses_no_lease(does_the_work: bool) -> None:
    store, time = FailingStore(MemoryStore()), Time()
    one = await node(store.as_store(), time, "one")
    await one.tick()
    time.at += RENEW_EVERY
    store.watch(fail_at=1, does_the_work=does_the_work)
    with pytest.raises(StoreUnavailableError):
        await one.tick()
    assert store.calls[-1] == "leases.put"
    assert not one.authority.meter.leads
    time.at += INTERVAL
    await fill(store.as_store(), 3)
    one.clock.at = LATER
    await one.tick()
    assert await grants_left(store.as_store(), 3) == 0
    found = await store.as_store().leases.get(UPKEEP)
    assert found is not None
    assert (found.holder, found.fence) == ("one", 1)
    assert one.authority.meter.leads


@pytest.mark.slow
@pytest.mark.spec("I7", "I9")
async def test_two_nodes_with_clocks_ten_seconds_apart_rotate_each_key_once() -> None:
    """Whoever leads; and the lease goes from one to the other in between, as often as it can."""
    store, time = MemoryStore(), Time()
    nodes = [await node(store, time, "behind", skew=-5), await node(store, time, "ahead", skew=5)]
    for step in range(8 * 3600 // 2):
        for each in nodes:
            each.clock.advance(2)
        time.at += INTERVAL
        await nodes[step % 2].tick()
        await nodes[1 - step % 2].tick()
        if step % 3 == 0:
            await nodes[step % 2].candidate.leave()
        line = sorted(await store.keys.signing_keys(), key=lambda key: key.active_at)
        assert [key.retired_at for key in line[:-1]] == [key.active_at for key in line[1:]]
    rotations = [each for each in await store.audit.latest(1000) if each.event == "keys.scheduled"]
    assert len(rotations) == 1 + 8
    found = await store.leases.get(UPKEEP)
    assert found is not None
    assert found.fence > 100


async def test_the_first_node_of_all_makes_keys_whoever_holds_the_lease() -> None:
    store = MemoryStore()
    await store.leases.put(None, lease("somebody else"))
    first = await node(store, Time(), "first")
    assert schedule.active(first.authority.keyring.rows, "ES256", NOW) is not None
    assert await holder(store) == "somebody else"


async def test_an_algorithm_that_was_just_configured_can_sign_at_once() -> None:
    store = MemoryStore()
    await node(store, Time(), "old")
    new = await node(store, Time(), "new", policy=replace(POLICY, signing_algorithms=("ES256", "EdDSA")))
    assert schedule.active(new.authority.keyring.rows, "EdDSA", NOW) is not None


async def test_a_node_that_starts_leaves_the_schedule_to_who_leads() -> None:
    store = MemoryStore()
    await node(store, Time(), "first")
    await node(store, Time(), "late", skew=3700)
    assert len(await store.keys.signing_keys()) == 2


async def test_an_operator_retires_a_key_whoever_leads() -> None:
    store, time = MemoryStore(), Time()
    one, operator = await node(store, time, "one"), await node(store, time, "operator")
    await one.tick()
    kid = (await store.keys.signing_keys())[0].kid
    assert await keyrings.retire_emergency(operator.authority.keyring, store, operator.clock, kid) is not None
    assert [entry.value for entry in await store.revocations.after(0, 10)] == [kid]
    assert await holder(store) == "one"


def test_no_two_processes_have_the_same_name() -> None:
    randomness = SeededRandomness()
    assert len({work.name_of_this_node(randomness) for _ in range(10)}) == 10
