"""The live revocations of a node."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.storage.store_things import event

from mintmark.authority.denylist import Denylist
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation
from mintmark.storage.memory import MemoryStore

CLAIMS = {"jti": "j", "gid": "g", "sub": "usr_ada", "client_id": "web", "iat": 100}


def entry(kind: Any, value: str, *, before: int | None = None, expires_at: int = 1000, cursor: int = 1) -> Revocation:
    return Revocation(kind=kind, value=value, before=before, expires_at=expires_at, cursor=cursor)


def denylist(*entries: Revocation) -> Denylist:
    found = Denylist()
    found.apply(entries)
    return found


@pytest.mark.spec("I6")
@pytest.mark.parametrize(
    ("revocation", "expected"),
    [
        (entry("jti", "j"), True),
        (entry("jti", "g"), False),
        (entry("gid", "g"), True),
        (entry("gid", "j"), False),
        (entry("kid", "k"), True),
        (entry("kid", "j"), False),
        (entry("sub", "usr_ada"), True),
        (entry("sub", "usr_ada", before=100), True),
        (entry("sub", "usr_ada", before=99), False),
        (entry("sub", "web", before=100), False),
        (entry("client_id", "web", before=100), True),
        (entry("client_id", "web", before=99), False),
        (entry("client_id", "usr_ada", before=100), False),
    ],
)
def test_what_an_entry_revokes(revocation: Revocation, expected: bool) -> None:
    assert denylist(revocation).revokes(CLAIMS, "k") is expected
    assert denylist(entry("jti", "another"), revocation).revokes(CLAIMS, "k") is expected


@pytest.mark.parametrize("claims", [{}, {"sub": "usr_bob", "iat": 1}, {"client_id": "api", "jti": "x", "iat": 1}])
def test_other_tokens_are_left_alone(claims: dict[str, Any]) -> None:
    kinds = ("jti", "gid", "sub", "client_id")
    every = denylist(*(entry(kind, CLAIMS[kind], before=None) for kind in kinds))  # type: ignore[arg-type]
    assert not every.revokes(claims, "k")
    assert not Denylist().revokes(CLAIMS, "k")


def test_of_two_for_the_same_the_wider_one_stays() -> None:
    narrow, wide = entry("sub", "usr_ada", before=50, expires_at=500), entry("sub", "usr_ada", before=100, cursor=2)
    for entries in ((narrow, wide), (wide, narrow)):
        found = denylist(*entries)
        assert found.revokes(CLAIMS, "k")
        found.forget(500 + KEPT_BEYOND_EXPIRY)
        assert found.revokes(CLAIMS, "k")
        assert len(found) == 1


def test_of_two_for_the_same_neither_is_lost() -> None:
    """Whatever either of them revokes is revoked, for as long."""
    until_later, more = (
        entry("sub", "usr_ada", before=50, expires_at=2000),
        entry("sub", "usr_ada", before=100, cursor=2),
    )
    found = denylist(until_later, more)
    found.forget(1500 + KEPT_BEYOND_EXPIRY)
    assert found.revokes({"sub": "usr_ada", "iat": 40}, "k")


def test_an_entry_is_forgotten_when_nobody_can_need_it() -> None:
    """Not when it expires: a verifier may forgive that a token is over. Of table and log in the same instant."""
    found = denylist(entry("jti", "j", expires_at=200), entry("gid", "other", expires_at=300, cursor=2))
    gone = 200 + KEPT_BEYOND_EXPIRY
    assert found.forget(gone - 1) == 0
    assert found.revokes(CLAIMS, "k")
    assert len(found.log) == 2
    assert found.forget(gone) == 1
    assert not found.revokes(CLAIMS, "k")
    assert len(found) == len(found.log) == 1


async def test_it_follows_the_store_and_reads_nothing_twice() -> None:
    store, found = MemoryStore(), Denylist()
    for number in range(3):
        await store.revocations.add(entry("jti", f"j{number}", cursor=0), event())
    await found.pull(store)
    assert (len(found), found.last and found.last.cursor) == (3, 3)
    await store.revocations.add(entry("jti", "j", cursor=0), event())
    assert not found.revokes(CLAIMS, "k")
    await found.pull(store)
    assert (len(found), found.last and found.last.cursor) == (4, 4)
    assert found.revokes(CLAIMS, "k")


async def test_it_reads_page_after_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mintmark.authority.denylist._PAGE", 2)
    for count in (1, 2, 3, 4, 5):
        store, found = MemoryStore(), Denylist()
        for number in range(count):
            await store.revocations.add(entry("jti", f"j{number}", cursor=0), event())
        await found.pull(store)
        assert (len(found), found.last and found.last.cursor) == (count, count)


class Interrupted:
    """The revocations of a store, and what happens right after they were read for the first time."""

    def __init__(self, store: MemoryStore, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self.store = store
        self.meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    @property
    def revocations(self) -> Any:
        return self

    async def after(self, cursor: int, limit: int) -> list[Revocation]:
        found = await self.store.revocations.after(cursor, limit)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found


async def nothing() -> None:
    """Happen."""


def values_of(found: Denylist) -> list[str]:
    return [item["jti"] for item in json.loads(b"[%b]" % found.log.after(0, 100).entries)]


async def fill(store: MemoryStore, *names: str, expires_at: int = 1000) -> None:
    for name in names:
        await store.revocations.add(entry("jti", name, cursor=0, expires_at=expires_at), event())


async def test_listeners_are_told_once_for_all_that_is_new() -> None:
    store, found, told = MemoryStore(), Denylist(), list[str]()
    found.on_change |= {lambda: told.append("one"), lambda: told.append("other")}
    await found.pull(store)
    assert told == []
    await fill(store, "a", "b", "c")
    await found.pull(store)
    assert sorted(told) == ["one", "other"]
    await found.pull(store)
    assert len(told) == 2


async def test_a_pull_that_finds_nothing_new_reads_once() -> None:
    """It is made ten times a second."""
    store, found, reads = MemoryStore(), Denylist(), list[int]()
    await fill(store, "a")
    await found.pull(store)

    class Counting(Interrupted):
        async def after(self, cursor: int, limit: int) -> list[Revocation]:
            reads.append(cursor)
            return await super().after(cursor, limit)

    await found.pull(Counting(store, nothing))  # type: ignore[arg-type]
    assert reads == [0]


@pytest.mark.spec("invariant I11")
async def test_a_store_that_went_back_is_read_from_its_start_and_nothing_is_forgotten() -> None:
    store, found = MemoryStore(), Denylist()
    await fill(store, "kept")
    backup = store.snapshot()
    await fill(store, "j", "lost")
    await found.pull(store)
    store.restore(backup)
    await fill(store, "new", "newer", "newest")
    await found.pull(store)
    assert values_of(found) == ["kept", "new", "newer", "newest"]
    assert found.log.epoch == 1
    assert found.revokes({"jti": "j"}, "k")


@pytest.mark.spec("invariant I11")
async def test_a_store_that_went_back_to_nothing() -> None:
    store, found = MemoryStore(), Denylist()
    backup = store.snapshot()
    await fill(store, "a")
    await found.pull(store)
    store.restore(backup)
    await found.pull(store)
    assert (len(found.log), found.log.epoch, found.last) == (0, 1, None)
    assert found.revokes({"jti": "a"}, "k")


async def test_of_a_store_that_forgot_the_last_entry_nothing_is_lost() -> None:
    """The last one may be the first to expire: those before it are read again."""
    store, found = MemoryStore(), Denylist()
    await fill(store, "a", "b", expires_at=2000)
    await fill(store, "short")
    await found.pull(store)
    await store.sweep(1000 + KEPT_BEYOND_EXPIRY, 10)
    await fill(store, "c")
    await found.pull(store)
    assert values_of(found) == ["a", "b", "c"]


async def test_nobody_sees_a_part_of_the_log_while_it_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins to read in that moment would take it for the whole."""
    monkeypatch.setattr("mintmark.authority.denylist._PAGE", 2)
    store, found = MemoryStore(), Denylist()
    await fill(store, "a", "b", "c", "d")
    backup = store.snapshot()
    await fill(store, "lost")
    await found.pull(store)
    store.restore(backup)
    seen = list[int]()

    class Watched(Interrupted):
        async def after(self, cursor: int, limit: int) -> list[Revocation]:
            seen.append(len(found.log))
            return await super().after(cursor, limit)

    await found.pull(Watched(store, nothing))  # type: ignore[arg-type]
    assert set(seen) <= {5, 4}
    assert values_of(found) == ["a", "b", "c", "d"]


async def test_two_readings_at_a_time_lose_nothing_when_the_log_is_started_over() -> None:
    """One read what followed the entry that the other, meanwhile, finds gone."""
    store, found = MemoryStore(), Denylist()
    await fill(store, "a", "b", expires_at=2000)
    await fill(store, "short")
    await found.pull(store)
    await fill(store, "c", expires_at=2000)

    async def meanwhile() -> None:
        await store.sweep(1000 + KEPT_BEYOND_EXPIRY, 10)
        await fill(store, "d")
        await found.pull(store)

    await found.pull(Interrupted(store, meanwhile))  # type: ignore[arg-type]
    assert values_of(found) == ["a", "b", "c", "d"]


async def test_two_readings_at_a_time_apply_nothing_twice() -> None:
    store, found = MemoryStore(), Denylist()
    await fill(store, "a", "b")

    async def meanwhile() -> None:
        await fill(store, "c")
        await found.pull(store)

    await found.pull(Interrupted(store, meanwhile))  # type: ignore[arg-type]
    assert values_of(found) == ["a", "b", "c"]


@pytest.mark.spec("invariant I11")
async def test_what_was_read_before_the_store_went_back_is_not_taken_for_what_follows() -> None:
    """One reading is under way when another finds that the store went back: it must not add what is gone to the log."""
    store, found = MemoryStore(), Denylist()
    await fill(store, "kept")
    backup = store.snapshot()
    await fill(store, "known")
    await found.pull(store)
    await fill(store, "lost")

    async def meanwhile() -> None:
        store.restore(backup)
        await found.pull(store)

    await found.pull(Interrupted(store, meanwhile))  # type: ignore[arg-type]
    assert values_of(found) == ["kept"]
    assert found.log.epoch == 1
