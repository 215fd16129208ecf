"""The decision about an authorization code."""

from typing import Any

import pytest
from tests.unit.authority.grants import CALLBACK, NOW, VERIFIER, binding, client, code, refreshed

from mintmark.authority.decisions import Decision, EndGrant, Proceed, Refuse
from mintmark.authority.grants.authorization_code import decide
from mintmark.authority.model import Client, Grant

WEB = client()


def decided(
    grant: Grant,
    by: Client = WEB,
    *,
    generation: int = 0,
    uri: str | None = CALLBACK,
    verifier: str | None = VERIFIER,
    after: int = 0,
) -> Decision:
    return decide(grant, generation, by, redirect_uri=uri, code_verifier=verifier, now=NOW + after)


def test_redeemed() -> None:
    assert decided(code()) == Proceed(1, "redeemed")
    assert decided(code(), after=59) == Proceed(1, "redeemed")


@pytest.mark.spec("A09", "I1")
@pytest.mark.parametrize("generation", [1, 2, 99])
@pytest.mark.parametrize("presented", [{}, {"uri": None, "verifier": None}, {"verifier": "w" * 43}, {"after": 5000}])
def test_a_second_redemption_ends_the_grant_whoever_it_is(generation: int, presented: dict[str, Any]) -> None:
    assert decided(refreshed(generation), **presented) == EndGrant("code_reuse")


@pytest.mark.spec("A11")
@pytest.mark.parametrize(
    "members", [{"idle_expires_at": NOW + 60}, {"idle_expires_at": NOW + 600, "expires_at": NOW + 60}]
)
def test_expiry_is_exclusive(members: dict[str, Any]) -> None:
    assert decided(code(**members), after=59) == Proceed(1, "redeemed")
    assert decided(code(**members), after=60) == Refuse("code expired")


@pytest.mark.spec("A12")
@pytest.mark.parametrize(
    ("bound", "presented"),
    [
        (CALLBACK, None),
        (CALLBACK, ""),
        (CALLBACK, CALLBACK + "/"),
        (CALLBACK, CALLBACK.upper()),
        (None, CALLBACK),  # RFC 6749 §4.1.3: left out in both or in neither
    ],
)
def test_another_redirect_uri(bound: str | None, presented: str | None) -> None:
    grant = code(binding=binding(redirect_uri=bound))
    assert decided(grant, uri=presented) == Refuse("redirect_uri differs from the authorization request")
    assert decided(grant, uri=bound) == Proceed(1, "redeemed")


@pytest.mark.spec("P03", "P04")
@pytest.mark.parametrize(
    ("challenge", "verifier"),
    [
        (binding().code_challenge, None),
        (binding().code_challenge, ""),
        (binding().code_challenge, "w" * 43),
        (binding().code_challenge, VERIFIER + "v"),
        (binding().code_challenge, binding().code_challenge),
        (None, VERIFIER),
        (None, ""),
    ],
)
def test_another_verifier(challenge: str | None, verifier: str | None) -> None:
    decision = decided(code(binding=binding(code_challenge=challenge)), verifier=verifier)
    assert isinstance(decision, Refuse)
    assert "verifier" in decision.detail


@pytest.mark.spec("P04")
def test_neither_challenge_nor_verifier() -> None:
    assert decided(code(binding=binding(code_challenge=None)), verifier=None) == Proceed(1, "redeemed")


@pytest.mark.spec("A12")
@pytest.mark.parametrize("grant", [code(), refreshed(3), code(ended_at=NOW, end_reason="revoked")])
def test_another_client_ends_nothing(grant: Grant) -> None:
    assert decided(grant, client(client_id="other")) == Refuse("code of another client")


def test_a_grant_that_is_over() -> None:
    assert decided(refreshed(3, ended_at=NOW, end_reason="revoked")) == Refuse("grant ended: revoked")


@pytest.mark.parametrize("grant", [code(), refreshed(3)])
def test_a_refresh_token_is_no_code(grant: Grant) -> None:
    assert decided(grant, generation=1) == Refuse("not a code")
