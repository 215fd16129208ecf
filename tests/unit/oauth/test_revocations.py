"""The table of revocations that authority and verifiers share, and its entries on the wire."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.jose.jwt import MAX_LEEWAY
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation, RevocationTable, WireEntry, from_wire, to_wire

KINDS = ("jti", "gid", "sub", "client_id", "kid")
CLAIMS = {"jti": "j", "gid": "g", "sub": "s", "client_id": "c", "iat": 100}


def table_of(*entries: tuple[Any, str, int | None, int]) -> RevocationTable:
    table = RevocationTable()
    for each in entries:
        table.add(*each)
    return table


def test_an_entry_is_needed_for_as_long_as_any_clock_may_forgive() -> None:
    assert KEPT_BEYOND_EXPIRY >= MAX_LEEWAY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [None, 7])
def test_an_entry_on_the_wire_has_its_name_and_no_other(kind: Any, before: int | None) -> None:
    encoded = msgspec.json.encode(to_wire(Revocation(kind=kind, value="x", before=before, expires_at=9, cursor=4)))
    assert msgspec.json.decode(encoded) == {kind: "x", "exp": 9} | ({} if before is None else {"before": before})
    members: dict[str, Any] = {kind: "x", "before": before, "exp": 9}
    assert msgspec.json.decode(encoded, type=WireEntry) == WireEntry(**members)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [None, 7])
def test_an_entry_comes_back_from_the_wire_as_it_was(kind: Any, before: int | None) -> None:
    entry = Revocation(kind=kind, value="x", before=before, expires_at=9, cursor=4)
    assert from_wire(to_wire(entry), 4) == entry


def test_what_names_nothing_we_know_or_two_things_is_no_entry() -> None:
    assert from_wire(WireEntry(exp=9)) is None
    assert from_wire(WireEntry(jti="a", gid="b", exp=9)) is None


def test_a_verifier_of_today_reads_what_a_later_authority_adds() -> None:
    """More members than are known are no reason to lose the feed."""
    assert msgspec.json.decode(b'{"jti":"a","exp":1,"why":"x"}', type=WireEntry) == WireEntry(jti="a", exp=1)


@pytest.mark.parametrize(
    ("kind", "value", "before", "expected"),
    [
        ("jti", "j", None, True),
        ("gid", "g", None, True),
        ("sub", "s", 100, True),
        ("sub", "s", 99, False),
        ("sub", "s", None, True),
        ("client_id", "c", 100, True),
        ("client_id", "c", 99, False),
        ("kid", "k", None, True),
        ("kid", "j", None, False),
        ("jti", "g", None, False),
        ("sub", "c", 100, False),
    ],
)
def test_what_an_entry_hits(kind: Any, value: str, before: int | None, expected: bool) -> None:
    assert table_of((kind, value, before, 1000)).revokes(CLAIMS, "k") is expected


def test_what_is_not_known_of_a_token_is_not_hit() -> None:
    """Introspection does not say which key signed; a token of a client alone has no grant."""
    table = table_of(*((kind, kind, None, 1000) for kind in KINDS))
    assert not table.revokes({}, None)
    assert not table.revokes({"iat": 0}, "")


def test_a_token_without_iat_is_as_old_as_can_be() -> None:
    assert table_of(("sub", "s", 1, 1000)).revokes({"sub": "s"}, None)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_is_forgotten_in_its_instant(kind: Any) -> None:
    table = table_of((kind, "x", None, 200), (kind, "y", None, 201))
    assert table.forget(199 + KEPT_BEYOND_EXPIRY) == 0
    assert len(table) == 2
    assert table.forget(200 + KEPT_BEYOND_EXPIRY) == 1
    assert not table.revokes({kind: "x"}, "x")
    assert table.revokes({kind: "y"}, "y")
    assert len(table) == 1


MOMENTS = st.none() | st.integers(1, 5)
DATED = st.tuples(st.sampled_from(KINDS), st.sampled_from("ab"), MOMENTS, st.integers(1, 5))


@given(st.lists(DATED, max_size=8), st.integers(0, 6), st.integers(0, 6))
def test_together_entries_hit_whatever_one_of_them_hits(entries: list[Any], issued_at: int, now: int) -> None:
    """In whatever order they come, and for as long as each of them would."""
    both = table_of(*entries)
    both.forget(now + KEPT_BEYOND_EXPIRY)
    for name in "ab":
        claims = {kind: name for kind in KINDS if kind != "kid"} | {"iat": issued_at}
        alone = False
        for each in entries:
            one = table_of(each)
            one.forget(now + KEPT_BEYOND_EXPIRY)
            alone |= one.revokes(claims, name)
        if alone:
            assert both.revokes(claims, name)
        if all(each[1] != name for each in entries):
            assert not both.revokes(claims, name)


@given(st.lists(DATED, max_size=8), DATED)
def test_a_table_covers_what_adding_would_not_change(entries: list[Any], more: Any) -> None:
    table = table_of(*entries)
    kind, value, before, expires_at = more
    before_it_was_added = table.entries()
    is_covered = table.covers(Revocation(kind=kind, value=value, before=before, expires_at=expires_at))
    table.add(*more)
    assert is_covered is (table.entries() == before_it_was_added)


@given(st.lists(DATED, max_size=8))
def test_what_a_table_says_it_has_makes_the_same_table(entries: list[Any]) -> None:
    table = table_of(*entries)
    said = table.entries()
    assert len(said) == len(table)
    assert {(entry.kind, entry.value) for entry in said} == {(kind, value) for kind, value, _, _ in entries}
    again = table_of(*((entry.kind, entry.value, entry.before, entry.expires_at) for entry in said))
    assert again.entries() == said
    assert all(table.covers(entry) for entry in said)
