"""The decision about a refresh token: every line of its table, and the order of its lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.authority.grants import NOW, PUBLIC, STABLE, client, refreshed

from mintmark.authority.decisions import Decision, EndGrant, Proceed, Refuse
from mintmark.authority.grants.refresh_token import decide
from mintmark.authority.model import Client, Grant

WEB = client()
ENDED = {"ended_at": NOW, "end_reason": "revoked"}
REUSE = EndGrant("refresh_reuse")


def decided(grant: Grant, generation: int, by: Client = WEB, *, grace: int = 10, after: int = 0) -> Decision:
    return decide(grant, generation, by, grace=grace, now=NOW + after)


@pytest.mark.spec("I1", "I2", "I3")
@pytest.mark.parametrize(
    ("presented", "grace", "after", "expected"),
    [
        (5, 10, 0, Proceed(6, "rotated")),
        (5, 0, 999, Proceed(6, "rotated")),
        (4, 10, 0, Proceed(5, "replayed")),
        (4, 10, 9, Proceed(5, "replayed")),
        (4, 10, 10, REUSE),
        (4, 1, 0, Proceed(5, "replayed")),
        (4, 1, 1, REUSE),
        (4, 0, 0, REUSE),
        # The node that rotated is ahead of this one: a window stays a window, strict stays strict.
        (4, 10, -3, Proceed(5, "replayed")),
        (4, 0, -3, REUSE),
        (3, 10, 0, REUSE),
        (1, 10, 0, REUSE),
        # Reuse is reuse also when the current token has idled out: its access tokens may still live.
        (3, 10, 1000, REUSE),
    ],
)
def test_current_predecessor_and_older(presented: int, grace: int, after: int, expected: Decision) -> None:
    assert decided(refreshed(5), presented, grace=grace, after=after) == expected


@pytest.mark.spec("invariant I11")
@pytest.mark.parametrize(
    ("presented", "after", "expected"),
    [
        (6, 0, Proceed(7, "fast_forwarded")),
        (99, 0, Proceed(100, "fast_forwarded")),
        # The idle limit is as old as the row; the absolute one never changes.
        (6, 1000, Proceed(7, "fast_forwarded")),
        (6, 9_999, Proceed(7, "fast_forwarded")),
        (6, 10_000, Refuse("grant expired")),
    ],
)
def test_ahead_of_the_row(presented: int, after: int, expected: Decision) -> None:
    assert decided(refreshed(5), presented, after=after) == expected


@pytest.mark.spec("invariant I11")
def test_ahead_of_a_row_that_is_a_code_again() -> None:
    assert decided(refreshed(0), 1) == Proceed(2, "fast_forwarded")


@pytest.mark.spec("R02")
@pytest.mark.parametrize(
    ("by", "presented", "expected"),
    [
        (STABLE, 5, Proceed(5, "kept")),
        (STABLE, 6, Proceed(6, "fast_forwarded")),
        (STABLE, 4, Proceed(5, "replayed")),  # it was rotated until a moment ago
        (STABLE, 3, REUSE),
        (client(refresh_rotation="stable", token_endpoint_auth_method="none"), 5, Proceed(6, "rotated")),
        (PUBLIC, 5, Proceed(6, "rotated")),
    ],
)
def test_stable_tokens_are_for_confidential_clients(by: Client, presented: int, expected: Decision) -> None:
    assert decided(refreshed(5), presented, by) == expected


@pytest.mark.spec("R01", "R06")
@pytest.mark.parametrize("presented", [1, 4, 5, 6])
@pytest.mark.parametrize(
    ("by", "members", "after"),
    [
        (client(client_id="other"), {}, 0),
        (WEB, ENDED, 0),
        (WEB, {}, 10_000),
        # Whoever else is wrong as well: a grant that is over or another's is never ended by it.
        (client(client_id="other"), ENDED, 0),
    ],
)
def test_refused_whatever_the_generation(presented: int, by: Client, members: dict[str, Any], after: int) -> None:
    assert isinstance(decided(refreshed(5, **members), presented, by, after=after), Refuse)


@pytest.mark.spec("R06")
@pytest.mark.parametrize(("presented", "after"), [(5, 1000), (5, 1001)])
def test_idle_for_too_long(presented: int, after: int) -> None:
    assert decided(refreshed(5), presented, after=after) == Refuse("refresh token idle for too long")
    assert decided(refreshed(5), presented, after=999) == Proceed(6, "rotated")


def test_generation_zero_is_a_code() -> None:
    assert decided(refreshed(5), 0) == Refuse("not a refresh token")


@given(
    current=st.integers(0, 50),
    presented=st.integers(0, 50),
    grace=st.integers(0, 20),
    after=st.integers(-5, 30),
    by=st.sampled_from([WEB, STABLE, PUBLIC]),
)
def test_whatever_is_presented_the_row_never_steps_back(
    current: int, presented: int, grace: int, after: int, by: Client
) -> None:
    match decided(refreshed(current), presented, by, grace=grace, after=after):
        case Proceed(generation, verdict):
            assert generation >= max(current, presented, 1)
            assert presented >= current - 1
            assert (verdict == "replayed") == (presented < current)
            assert verdict != "replayed" or after < grace
        case EndGrant(reason):
            assert reason == "refresh_reuse"
            assert 1 <= presented < current
        case Refuse():
            assert presented == 0
