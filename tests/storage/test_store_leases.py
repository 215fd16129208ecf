"""Every adapter: work that must be done once is done under a lease, and who lost it cannot write."""

import asyncio
from dataclasses import replace

import pytest
from tests.storage.store_things import (
    NOW,
    event,
    events,
    grant_id,
    lease,
    refreshed,
    revocation,
    revoked,
    session,
    signing_key,
)

from mintmark.authority.ports import GrantSelector, Lease, Store, SupersededError

pytestmark = pytest.mark.anyio

MINE = lease("one", fence=3, beat=7)
LOST = {
    "given up": replace(MINE, holder="", beat=8),
    "taken": replace(MINE, holder="two", fence=4, beat=0),
    "taken and lost and taken again": replace(MINE, fence=5, beat=0),
    # A store that went back in time (invariant I11) may give the same fence to two nodes.
    "taken under the same fence": replace(MINE, holder="two"),
    "held under an older fence again": replace(MINE, fence=2),
}
LATER = NOW + 10_000


async def test_there_is_no_lease_until_somebody_takes_it(store: Store) -> None:
    assert await store.leases.get("upkeep") is None
    assert await store.leases.put(None, lease()) is True
    assert await store.leases.get("upkeep") == lease()
    assert await store.leases.put(None, lease("two")) is False
    assert await store.leases.get("upkeep") == lease()


async def test_leases_of_different_works_know_nothing_of_each_other(store: Store) -> None:
    assert await store.leases.put(None, lease())
    other = lease("two", name="other")
    assert await store.leases.get("other") is None
    assert await store.leases.put(None, other) is True
    assert await store.leases.put(other, replace(other, beat=1)) is True
    assert await store.leases.get("upkeep") == lease()
    with pytest.raises(ValueError, match="keeps the name"):
        await store.leases.put(lease(), other)


@pytest.mark.parametrize(
    "now",
    [replace(MINE, beat=8), replace(MINE, holder="two", fence=4, beat=0), replace(MINE, holder="", beat=8)],
    ids=["renewed", "taken", "given up"],
)
async def test_a_lease_changes_from_what_is_stored(store: Store, now: Lease) -> None:
    await store.leases.put(None, MINE)
    assert await store.leases.put(MINE, now) is True
    assert await store.leases.get("upkeep") == now


@pytest.mark.parametrize("seen", [replace(MINE, beat=6), replace(MINE, fence=2), replace(MINE, holder="two")])
async def test_a_lease_changes_from_nothing_else(store: Store, seen: Lease) -> None:
    await store.leases.put(None, MINE)
    assert await store.leases.put(seen, replace(MINE, holder="three", fence=9)) is False
    assert await store.leases.get("upkeep") == MINE


async def test_a_lease_that_is_not_there_does_not_change(store: Store) -> None:
    assert await store.leases.put(lease(), lease("two", fence=2)) is False
    assert await store.leases.get("upkeep") is None


@pytest.mark.parametrize("there", [None, MINE], ids=["none", "one"])
async def test_of_many_who_want_a_lease_one_gets_it(store: Store, there: Lease | None) -> None:
    if there is not None:
        await store.leases.put(None, there)
    wanted = [lease(f"node{number}", fence=4) for number in range(50)]
    outcomes = await asyncio.gather(*(store.leases.put(there, each) for each in wanted))
    assert sum(outcomes) == 1
    assert await store.leases.get("upkeep") == wanted[outcomes.index(True)]


async def test_who_holds_the_lease_writes(store: Store) -> None:
    await store.leases.put(None, MINE)
    await store.grants.add(refreshed(), event("in"))
    entry = revocation("k1", kind="kid")
    done = await store.keys.change([], [signing_key()], revocations=[entry], audit=event("made"), lease=MINE)
    assert done is True
    assert await store.keys.signing_keys() == [signing_key()]
    assert (await store.sweep(LATER, 10, MINE))["grants_expired"] == 1
    assert await store.grants.get(grant_id("g")) is None
    assert await events(store) == ["in", "made"]


async def test_a_renewal_does_not_get_in_the_way_of_a_write(store: Store) -> None:
    """The fence decides, not the beat: the lease that a write carries may have been renewed since."""
    await store.leases.put(None, MINE)
    await store.leases.put(MINE, replace(MINE, beat=8))
    assert await store.keys.change([], [signing_key()], audit=event(), lease=MINE) is True
    assert (await store.sweep(LATER, 10, MINE))["keys"] == 0


@pytest.mark.parametrize("now", [*LOST.values(), None], ids=[*LOST, "gone"])
async def test_who_lost_the_lease_writes_nothing(store: Store, now: Lease | None) -> None:
    if now is not None:
        await store.leases.put(None, now)
    await store.grants.add(refreshed(), event("in"))
    await store.sessions.add(session(), replaces=None, audit=event("in"))
    await store.keys.change([], [signing_key("k0", removed_at=NOW)], audit=event("in"))
    with pytest.raises(SupersededError):
        await store.keys.change(
            [signing_key("k0", removed_at=NOW)],
            [signing_key()],
            revocations=[revocation()],
            audit=event("late"),
            lease=MINE,
        )
    with pytest.raises(SupersededError):
        await store.sweep(LATER, 10, MINE)
    assert [key.kid for key in await store.keys.signing_keys()] == ["k0"]
    assert await revoked(store) == []
    assert await store.grants.get(grant_id("g")) == refreshed()
    assert len(await store.sessions.of("usr_ada")) == 1
    assert await events(store) == ["in"] * 3
    assert await store.leases.get("upkeep") == now


async def test_who_lost_the_lease_hears_of_it_even_if_nothing_would_be_written(store: Store) -> None:
    await store.leases.put(None, LOST["taken"])
    with pytest.raises(SupersededError):
        await store.keys.change([signing_key("other")], [signing_key()], audit=event(), lease=MINE)
    with pytest.raises(SupersededError):
        await store.sweep(NOW, 10, MINE)


async def test_without_a_lease_an_operator_may_always_write(store: Store) -> None:
    await store.leases.put(None, MINE)
    assert await store.keys.change([], [signing_key()], audit=event()) is True
    assert await store.leases.get("upkeep") == MINE


async def test_of_writes_and_a_takeover_at_the_same_time_none_comes_after_it(store: Store) -> None:
    """Whatever the order: a write is there before the lease changes hands, or it is refused whole."""
    await store.leases.put(None, MINE)
    for number in range(40):
        await store.grants.add(refreshed(number), event())
    assert (await store.sweep(LATER, 1, MINE))["grants_expired"] == 1

    async def take() -> int:
        assert await store.leases.put(MINE, LOST["taken"])
        with pytest.raises(SupersededError):
            await store.sweep(LATER, 1, MINE)
        return 0

    async def write() -> int:
        try:
            return (await store.sweep(LATER, 1, MINE))["grants_expired"]
        except SupersededError:
            return 0

    gone = sum(await asyncio.gather(*(write() for _ in range(15)), take(), *(write() for _ in range(15))))
    left = await store.grants.live(GrantSelector(subject="usr_ada"), NOW)
    assert len(left) == 39 - gone
