"""Lifetimes: by classification, by client, within bounds."""

from dataclasses import astuple, replace
from typing import Any

import pytest
from tests.unit.authority.grants import client

from mintmark.authority.policy import BOUNDS, DAY, HOUR, LIFETIMES, MINUTE, Lifetimes, Policy, problems_of

POLICY = Policy(issuer="https://id.example")
GOOD = Lifetimes(900, 7 * DAY, DAY, 10)


@pytest.mark.parametrize(
    ("classification", "expected"),
    [
        ("public", (60 * MINUTE, 30 * DAY, 14 * DAY, 10)),
        ("internal", (30 * MINUTE, 14 * DAY, 7 * DAY, 10)),
        ("confidential", (15 * MINUTE, 7 * DAY, 3 * DAY, 10)),
        ("restricted", (5 * MINUTE, 1 * DAY, 8 * HOUR, 0)),
    ],
)
def test_a_client_has_the_lifetimes_of_its_classification(classification: Any, expected: tuple[int, ...]) -> None:
    """The numbers of the classifications."""
    for method in ("none", "client_secret_basic"):
        found = client(classification=classification, token_endpoint_auth_method=method).lifetimes(POLICY)
        assert astuple(found) == expected
    assert problems_of(LIFETIMES[classification]) == []


@pytest.mark.parametrize("name", list(BOUNDS))
@pytest.mark.parametrize("value", [0, 60])
def test_its_own_number_comes_first_even_if_it_is_nought(name: str, value: int) -> None:
    found = client(**{name: value}).lifetimes(POLICY)
    assert found == replace(LIFETIMES["confidential"], **{name: value})


def test_the_installation_may_change_a_classification() -> None:
    changed = replace(POLICY, lifetimes={**LIFETIMES, "internal": GOOD})
    assert client(classification="internal").lifetimes(changed) == GOOD
    assert client(classification="internal", refresh_grace=3).lifetimes(changed) == replace(GOOD, refresh_grace=3)


@pytest.mark.spec("I2")
@pytest.mark.parametrize(
    ("method", "grace", "expected"),
    [
        ("none", 60, 60),
        ("none", 61, 60),
        ("none", DAY, 60),
        ("none", 0, 0),
        ("client_secret_basic", DAY, DAY),
        ("client_secret_post", 61, 61),
    ],
)
def test_a_public_client_has_a_grace_of_sixty_seconds_at_most(method: str, grace: int, expected: int) -> None:
    own = client(token_endpoint_auth_method=method, refresh_grace=grace)
    assert own.lifetimes(POLICY) == replace(LIFETIMES["confidential"], refresh_grace=expected)
    wide = replace(POLICY, lifetimes={"confidential": replace(GOOD, refresh_grace=grace)})
    assert client(token_endpoint_auth_method=method).lifetimes(wide).refresh_grace == expected


@pytest.mark.parametrize("name", list(BOUNDS))
def test_each_number_has_its_bounds(name: str) -> None:
    low, high = BOUNDS[name]
    widest = Lifetimes(900, 366 * DAY, 60, 10)
    for value in (low, high):
        found = problems_of(replace(widest, **{name: value}))
        assert [line for line in found if line.startswith(f"{name} must be")] == []
    for value in (low - 1, high + 1):
        found = problems_of(replace(widest, **{name: value}))
        assert f"{name} must be between {low} and {high} seconds, not {value}" in found


def test_idle_is_at_most_absolute() -> None:
    assert problems_of(replace(GOOD, refresh_idle_lifetime=7 * DAY)) == []
    assert problems_of(replace(GOOD, refresh_idle_lifetime=7 * DAY + 1)) == [
        "refresh_idle_lifetime must not exceed refresh_token_lifetime"
    ]


@pytest.mark.spec("I7")
@pytest.mark.parametrize(("id_token_lifetime", "expected"), [(600, DAY), (DAY, DAY), (2 * DAY, 2 * DAY)])
def test_a_key_outlives_every_token_that_any_client_may_get(id_token_lifetime: int, expected: int) -> None:
    assert replace(POLICY, id_token_lifetime=id_token_lifetime).longest_token_lifetime == expected
