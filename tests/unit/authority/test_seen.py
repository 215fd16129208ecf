"""Remembered tokens: what may change of them is looked at each time."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.jose.jose_keys import key

from mintmark.authority.seen import SeenToken, SeenTokens
from mintmark.jose import jwk, jws
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import Key, KeySet

ISSUER = "https://id.example"
NOW = 1_700_000_000
OURS = key("ES256")


def token(signer: Key = OURS, typ: str = "at+jwt", **claims: Any) -> str:
    good = {"iss": ISSUER, "nbf": NOW - 10, "exp": NOW + 10}
    return jws.sign(json.dumps(good | claims).encode(), signer, typ=typ)


def ask(seen: SeenTokens, token: str, *keys: Key, now: int = NOW, leeway: int = 0, issuer: str = ISSUER) -> SeenToken:
    return seen.verify(token, KeySet(keys or [OURS]), typ="at+jwt", issuer=issuer, now=now, leeway=leeway)


def test_a_remembered_token_is_refused_once_its_key_has_left_the_set() -> None:
    seen, other, one = SeenTokens(), key("RS256"), token()
    known = ask(seen, one)
    assert (known.claims["iss"], known.key) == (ISSUER, OURS)
    assert ask(seen, one, OURS, other) is known
    with pytest.raises(JoseError):
        ask(seen, one, other)


def test_a_remembered_token_is_refused_where_another_key_has_its_name() -> None:
    seen, one = SeenTokens(), token()
    ask(seen, one)
    with pytest.raises(JoseError, match="signature"):
        ask(seen, one, replace(jwk.generate("ES256"), kid=OURS.kid))


def test_a_remembered_token_is_refused_by_another_issuer() -> None:
    seen, one = SeenTokens(), token()
    ask(seen, one)
    with pytest.raises(JoseError, match="issuer"):
        ask(seen, one, issuer="https://other.example")


def test_nobody_can_change_what_the_next_one_is_told() -> None:
    seen, one = SeenTokens(), token(aud=["https://api.example"], amr=["pwd"])
    claims = ask(seen, one).claims
    assert (claims["aud"], claims["amr"]) == (("https://api.example",), ("pwd",))
    with pytest.raises(TypeError):
        claims["aud"] = "https://evil.example"  # type: ignore[index] # what a caller must not do


def test_a_long_token_is_verified_each_time() -> None:
    seen, short, long = SeenTokens(), token(x="x" * 1000), token(x="x" * 2000)
    assert ask(seen, short) is ask(seen, short)
    assert ask(seen, long) is not ask(seen, long)
    assert ask(seen, long).claims["x"] == "x" * 2000


def test_a_remembered_token_expires() -> None:
    seen, one = SeenTokens(), token()
    known = ask(seen, one)
    assert ask(seen, one, now=NOW + 9) is known
    assert ask(seen, one, now=NOW + 14, leeway=5) is known
    with pytest.raises(JoseError, match="expired"):
        ask(seen, one, now=NOW + 10)
    with pytest.raises(JoseError, match="not valid yet"):
        ask(seen, one, now=NOW - 11)
    assert ask(seen, one) is known


@pytest.mark.parametrize(
    "refused",
    [
        token()[:-8] + "AAAAAAAA",
        token(typ="jwt"),
        token(iss="https://other.example"),
        token(exp=NOW),
        token(nbf=NOW + 1),
        token(exp="soon"),
    ],
    ids=["forged", "type", "issuer", "expired", "not yet valid", "malformed"],
)
def test_a_token_that_is_refused_is_not_remembered(refused: str) -> None:
    seen = SeenTokens()
    for _ in range(2):
        with pytest.raises(JoseError):
            ask(seen, refused)


def test_it_is_bounded_and_forgets_the_longest_unasked() -> None:
    seen = SeenTokens(size=2)
    first, second, third = (token(jti=str(number)) for number in range(3))
    remembered, forgotten = ask(seen, first), ask(seen, second)
    assert ask(seen, first) is remembered
    ask(seen, third)
    assert ask(seen, first) is remembered
    assert ask(seen, second) is not forgotten
