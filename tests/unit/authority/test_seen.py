"""Remembered tokens: what may change of them is looked at each time."""

import json
from typing import Any

import pytest
from tests.unit.jose.jose_keys import key

from mintmark.authority.seen import SeenToken, SeenTokens
from mintmark.jose import jws
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import Key, KeySet

ISSUER = "https://id.example"
NOW = 1_700_000_000
OURS = key("ES256")


def token(signer: Key = OURS, typ: str = "at+jwt", **claims: Any) -> str:
    good = {"iss": ISSUER, "nbf": NOW - 10, "exp": NOW + 10}
    return jws.sign(json.dumps(good | claims).encode(), signer, typ=typ)


def ask(seen: SeenTokens, token: str, *keys: Key, now: int = NOW) -> SeenToken:
    return seen.verify(token, KeySet(keys or [OURS]), typ="at+jwt", issuer=ISSUER, now=now)


def test_a_remembered_token_is_refused_once_its_key_has_left_the_set() -> None:
    seen, other, one = SeenTokens(), key("RS256"), token()
    known = ask(seen, one)
    assert (known.claims["iss"], known.key) == (ISSUER, OURS)
    assert ask(seen, one, OURS, other) is known
    with pytest.raises(JoseError):
        ask(seen, one, other)


def test_a_remembered_token_expires() -> None:
    seen, one = SeenTokens(), token()
    known = ask(seen, one)
    assert ask(seen, one, now=NOW + 9) is known
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
