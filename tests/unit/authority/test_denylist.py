"""The live revocations of a node."""

from typing import Any

import pytest
from tests.storage.store_things import event

from mintmark.authority.denylist import Denylist
from mintmark.oauth.revocations import Revocation
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
        found.forget(500)
        assert found.revokes(CLAIMS, "k")
        assert len(found) == 1


def test_of_two_for_the_same_neither_is_lost() -> None:
    """Whatever either of them revokes is revoked, for as long."""
    until_later, more = (
        entry("sub", "usr_ada", before=50, expires_at=2000),
        entry("sub", "usr_ada", before=100, cursor=2),
    )
    found = denylist(until_later, more)
    found.forget(1500)
    assert found.revokes({"sub": "usr_ada", "iat": 40}, "k")


def test_an_entry_is_forgotten_when_it_expires() -> None:
    found = denylist(entry("jti", "j", expires_at=200), entry("gid", "other", expires_at=300, cursor=2))
    assert found.forget(199) == 0
    assert found.revokes(CLAIMS, "k")
    assert found.forget(200) == 1
    assert not found.revokes(CLAIMS, "k")
    assert len(found) == 1


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
