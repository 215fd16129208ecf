"""What every adapter must answer, in whatever framework: one table.

An application under test serves ``GET`` on each path of `ROUTES`, protected as said there, and answers
``{"sub": …}`` from the verified token. A test goes through `CASES`: it sends what `Case.sent` returns while
`Case.during` lasts, and hands the answer to `Case.check`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mintmark.testing import Mint
from mintmark.verifier.bearer import Requirement

ROUTES: Mapping[str, Requirement] = {
    "/any": Requirement(),
    "/scope": Requirement(scope="orders:read orders:list"),
    "/role": Requirement(role="clerk"),
    "/permission": Requirement(permission="orders:refund"),
    "/recent": Requirement(max_age=60),
    "/strong": Requirement(acr=("mfa", "phrh")),
    "/fresh": Requirement(on_stale="deny"),
}

Sent = list[tuple[str, str]]

INVALID = 'Bearer error="invalid_token", error_description="The access token is invalid, expired or revoked"'
MALFORMED = 'Bearer error="invalid_request", error_description="Send one Authorization header, and one token in it"'
NOT_PERMITTED = 'Bearer error="insufficient_scope", error_description="The access token does not permit this"'
SIGN_IN = 'Bearer error="insufficient_user_authentication", error_description="Sign in again, as asked for here"'


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request and what has to come back.

    Attributes:
        name: Says what is the matter.
        sent: Makes the request's headers.
        path: One of `ROUTES`.
        query: Makes the query.
        status: What is answered.
        error: The body's ``error``, on a refusal.
        challenge: ``WWW-Authenticate``, exactly; ``None`` if there is to be none.
        is_outage: Whether the issuer is away, and has been for a minute.
    """

    name: str
    sent: Callable[[Mint], Sent]
    path: str = "/any"
    query: Callable[[Mint], dict[str, str]] = field(default=lambda _: {})
    status: int = 200
    error: str | None = None
    challenge: str | None = None
    is_outage: bool = False

    @contextmanager
    def during(self, mint: Mint) -> Iterator[None]:
        """Hold the circumstances of the case while the request is made."""
        if not self.is_outage:
            yield
            return
        with mint.outage():
            mint.clock(+60)
            yield

    def check(self, status: int, headers: Any, body: bytes) -> None:
        """Compare an answer with the case; ``headers`` is any framework's mapping, looked up in lower case."""
        assert (status, headers.get("www-authenticate")) == (self.status, self.challenge)
        if self.status == 200:
            assert json.loads(body) == {"sub": "ada"}
            return
        said = json.loads(body)
        assert said.keys() == {"error", "error_description"}
        assert said["error"] == self.error
        assert headers["content-type"].partition(";")[0] == "application/json"
        assert headers["cache-control"] == "no-store"
        assert headers.get("retry-after") == ("1" if self.status == 503 else None)


def bearer(token: str) -> Sent:
    """The header that sends ``token``."""
    return [("Authorization", f"Bearer {token}")]


def good(mint: Mint) -> Sent:
    """A good token with nothing special about it."""
    return bearer(mint.token(sub="ada", scope="orders:list"))


def revoked(mint: Mint) -> Sent:
    """A token that was good until it was revoked."""
    token = mint.token(sub="ada")
    mint.revoke(token)
    return bearer(token)


def signed_in(mint: Mint, *, seconds_ago: int) -> Sent:
    """A token of a person who signed in so long ago."""
    token = mint.token(sub="ada")
    mint.clock(+seconds_ago)
    return bearer(token)


CASES = [
    Case(name="a good token", sent=good),
    Case(name="the scheme in lower case", sent=lambda mint: [("Authorization", f"bearer {mint.token(sub='ada')}")]),
    Case(name="no token", sent=lambda _: [], status=401, error="unauthorized", challenge="Bearer"),
    Case(
        name="another scheme",
        sent=lambda _: [("Authorization", "Basic YWRhOnB3")],
        status=401,
        error="unauthorized",
        challenge="Bearer",
    ),
    Case(
        name="a good token in the query only",
        sent=lambda _: [],
        query=lambda mint: {"access_token": mint.token(sub="ada")},
        status=401,
        error="unauthorized",
        challenge="Bearer",
    ),
    Case(name="a token in the query beside a good one", sent=good, query=lambda _: {"access_token": "x"}),
    Case(
        name="two headers",
        sent=lambda mint: good(mint) + good(mint),
        status=400,
        error="invalid_request",
        challenge=MALFORMED,
    ),
    Case(
        name="no token after the scheme",
        sent=lambda _: [("Authorization", "Bearer")],
        status=400,
        error="invalid_request",
        challenge=MALFORMED,
    ),
    Case(name="garbage", sent=lambda _: bearer("a.b.c"), status=401, error="invalid_token", challenge=INVALID),
    Case(
        name="another audience",
        sent=lambda mint: bearer(mint.token(sub="ada", audience="https://other.example")),
        status=401,
        error="invalid_token",
        challenge=INVALID,
    ),
    Case(
        name="an expired token",
        sent=lambda mint: bearer(mint.token(sub="ada", expires_in=-60)),
        status=401,
        error="invalid_token",
        challenge=INVALID,
    ),
    Case(name="a revoked token", sent=revoked, status=401, error="invalid_token", challenge=INVALID),
    Case(
        name="the scopes",
        path="/scope",
        sent=lambda mint: bearer(mint.token(sub="ada", scope="orders:list orders:read")),
    ),
    Case(
        name="one scope of two",
        path="/scope",
        sent=good,
        status=403,
        error="insufficient_scope",
        challenge=f'{NOT_PERMITTED}, scope="orders:read orders:list"',
    ),
    Case(name="the role", path="/role", sent=lambda mint: bearer(mint.token(sub="ada", roles=["clerk"]))),
    Case(
        name="another role",
        path="/role",
        sent=lambda mint: bearer(mint.token(sub="ada", roles=["guest"])),
        status=403,
        error="insufficient_scope",
        challenge=NOT_PERMITTED,
    ),
    Case(
        name="the permission",
        path="/permission",
        sent=lambda mint: bearer(mint.token(sub="ada", permissions=["orders:refund"])),
    ),
    Case(
        name="a scope that is called like the permission",
        path="/permission",
        sent=lambda mint: bearer(mint.token(sub="ada", scope="orders:refund")),
        status=403,
        error="insufficient_scope",
        challenge=NOT_PERMITTED,
    ),
    Case(name="a recent sign-in", path="/recent", sent=lambda mint: signed_in(mint, seconds_ago=60)),
    Case(
        name="a sign-in too long ago",
        path="/recent",
        sent=lambda mint: signed_in(mint, seconds_ago=61),
        status=401,
        error="insufficient_user_authentication",
        challenge=f'{SIGN_IN}, max_age="60"',
    ),
    Case(name="one of the ways to sign in", path="/strong", sent=lambda mint: bearer(mint.token(sub="ada", acr="mfa"))),
    Case(
        name="another way to sign in",
        path="/strong",
        sent=lambda mint: bearer(mint.token(sub="ada", acr="pwd")),
        status=401,
        error="insufficient_user_authentication",
        challenge=f'{SIGN_IN}, acr_values="mfa phrh"',
    ),
    Case(name="a route that wants fresh revocations, and has them", path="/fresh", sent=good),
    Case(
        name="a route that wants fresh revocations, and the issuer is away",
        path="/fresh",
        sent=good,
        is_outage=True,
        status=503,
        error="temporarily_unavailable",
    ),
    Case(name="any other route, and the issuer is away", sent=good, is_outage=True),
]

all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
"""Runs a test once for each case."""
