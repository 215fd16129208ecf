"""What a node knows and the store does not (any more): heard of beside it, lost by it, or dropped by mistake."""

from typing import Any

import pytest
from tests.storage.store_things import event

from mintmark.authority.denylist import CLOCK_STEP, Denylist
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation
from mintmark.storage.memory import MemoryStore

pytestmark = pytest.mark.spec("invariant I11")


def entry(kind: Any, value: str, *, before: int | None = None, expires_at: int = 1000) -> Revocation:
    return Revocation(kind=kind, value=value, before=before, expires_at=expires_at)


async def write(store: MemoryStore, *entries: Revocation) -> None:
    for each in entries:
        await store.revocations.add(each, event())


def names(found: Denylist) -> list[str]:
    return [value for _, value in found.forgotten]


async def test_what_is_heard_of_revokes_at_once_and_is_on_the_feed_when_it_was_read() -> None:
    store, found = MemoryStore(), Denylist()
    told = list[str]()
    found.on_change.add(lambda: told.append("read"))
    await write(store, entry("gid", "g"))
    assert found.hear([entry("gid", "g")])
    assert found.has_ended("g")
    assert (len(found.log), told) == (0, [])
    await found.pull(store)
    assert (len(found.log), told, found.forgotten) == (1, ["read"], {})
    assert not found.hear([entry("gid", "g")])
    assert len(found) == 1


async def test_what_was_read_already_is_nothing_new() -> None:
    store, found = MemoryStore(), Denylist()
    await write(store, entry("gid", "g"), entry("client_id", "web", before=50))
    await found.pull(store)
    assert not found.hear([entry("gid", "g"), entry("gid", "g", expires_at=999), entry("client_id", "web", before=49)])
    await found.pull(store)
    assert found.forgotten == {}
    assert found.hear([entry("gid", "g", expires_at=1001)])
    assert found.hear([entry("client_id", "web", before=51)])


async def test_the_store_has_lost_what_a_reading_after_hearing_of_it_does_not_have() -> None:
    """The node that told of it had read it there: it was committed before."""
    store, found = MemoryStore(), Denylist()
    await write(store, entry("jti", "kept"))
    await found.pull(store)
    found.hear([entry("jti", "lost"), entry("sub", "usr_ada", before=7)])
    assert found.forgotten == {}
    await found.pull(store)
    assert names(found) == ["lost", "usr_ada"]
    assert found.revokes({"jti": "lost"}, "k")


async def test_what_is_heard_of_during_a_reading_is_judged_by_the_next() -> None:
    store, found = MemoryStore(), Denylist()

    class Slow:
        """A store; while it is read, another node commits and tells of it."""

        revocations: Any

        async def after(self, cursor: int, limit: int) -> list[Revocation]:
            read = await store.revocations.after(cursor, limit)
            await write(store, entry("jti", "j"))
            found.hear([entry("jti", "j")])
            return read

    slow = Slow()
    slow.revocations = slow
    await found.pull(slow)  # type: ignore[arg-type]
    assert found.forgotten == {}
    await found.pull(store)
    assert found.forgotten == {}
    assert len(found.log) == 1


@pytest.mark.parametrize("in_between", [0, 1, 5])
async def test_a_store_that_went_back_has_forgotten_what_it_lacks(in_between: int) -> None:
    """Whether it has given out the lost cursors again by now or not."""
    store, found = MemoryStore(), Denylist()
    await write(store, entry("jti", "kept"), entry("client_id", "kept", before=5))
    backup = store.snapshot()
    await write(store, entry("jti", "lost"), entry("client_id", "kept", before=6), entry("kid", "lost too"))
    await found.pull(store)
    store.restore(backup)
    await write(store, *(entry("jti", f"new{number}") for number in range(in_between)))
    await found.pull(store)
    assert sorted(names(found)) == ["kept", "lost", "lost too"]
    assert found.forgotten["client_id", "kept"].before == 6
    assert len(found.log) == 2 + in_between


async def test_a_node_that_was_behind_notices_nothing_and_has_lost_nothing() -> None:
    store, found = MemoryStore(), Denylist()
    await write(store, entry("jti", "kept"))
    await found.pull(store)
    backup = store.snapshot()
    await write(store, entry("jti", "never heard of"))
    store.restore(backup)
    await found.pull(store)
    assert (found.forgotten, found.log.epoch) == ({}, 0)


async def test_what_is_there_again_is_not_forgotten_any_more() -> None:
    """Another node wrote it back, for longer perhaps; one that revokes less would not do."""
    store, found = MemoryStore(), Denylist()
    found.hear([entry("jti", "a"), entry("jti", "b"), entry("sub", "usr_ada", before=7)])
    await found.pull(store)
    assert len(found.forgotten) == 3
    await write(store, entry("jti", "a", expires_at=1001), entry("jti", "b", expires_at=999), entry("sub", "usr_ada"))
    await found.pull(store)
    assert names(found) == ["b"]
    assert found.revokes({"jti": "a"}, "k")


async def test_what_was_written_back_has_to_be_seen_again() -> None:
    """The store may go back once more."""
    store, found = MemoryStore(), Denylist()
    lost = entry("jti", "lost")
    found.hear([lost])
    await found.pull(store)
    found.note_reapplied(lost)
    assert (found.forgotten, found.reapplied) == ({}, 1)
    await found.pull(store)
    assert names(found) == ["lost"]
    await write(store, lost)
    await found.pull(store)
    found.note_reapplied(lost)  # read before whoever wrote it came to say so
    await found.pull(store)
    assert (found.forgotten, found.reapplied) == ({}, 2)


async def test_readings_count_only_if_the_store_had_all_that_is_known() -> None:
    store, found = MemoryStore(), Denylist()
    await found.pull(store)
    assert found.pulls == 1
    found.hear([entry("jti", "lost")])
    for _ in range(2):
        await found.pull(store)
    assert found.pulls == 1
    await write(store, entry("jti", "lost"))
    await found.pull(store)
    assert found.pulls == 2


async def test_nobody_waits_for_what_is_over() -> None:
    store, found = MemoryStore(), Denylist()
    found.hear([entry("jti", "a", expires_at=100), entry("jti", "b", expires_at=200)])
    await found.pull(store)
    found.hear([entry("jti", "c", expires_at=100), entry("jti", "d", expires_at=200)])
    found.forget(100 + KEPT_BEYOND_EXPIRY)
    assert names(found) == ["b"]
    await found.pull(store)
    assert names(found) == ["b", "d"]


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("ahead", [CLOCK_STEP, CLOCK_STEP + 1, 10_000])
async def test_what_a_clock_that_was_ahead_made_it_drop_is_read_again(ahead: int) -> None:
    store, found = MemoryStore(), Denylist()
    await write(store, entry("jti", "long", expires_at=2000), entry("jti", "short", expires_at=1000))
    await found.pull(store)
    gone = 1000 + KEPT_BEYOND_EXPIRY
    found.forget(gone + ahead - 1)
    assert not found.revokes({"jti": "short"}, "k")
    found.look_at_clock(gone - 1)
    await found.pull(store)
    is_set_back = ahead > CLOCK_STEP
    assert found.revokes({"jti": "short"}, "k") is is_set_back
    assert found.log.epoch == (1 if is_set_back else 0)
    assert found.forgotten == {}
    found.look_at_clock(gone - 1)
    await found.pull(store)
    assert found.log.epoch == (1 if is_set_back else 0)


async def test_a_clock_that_goes_on_makes_it_read_nothing_again() -> None:
    store, found = MemoryStore(), Denylist()
    await write(store, entry("jti", "j"))
    for now in (10, 20, 20, 16, 30):
        found.look_at_clock(now)
        await found.pull(store)
        found.forget(now)
    assert found.log.epoch == 0
