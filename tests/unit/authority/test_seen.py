"""Remembered signatures: never more than a signature is remembered."""

import pytest
from tests.unit.jose.jose_keys import key

from mintmark.authority.seen import SeenTokens
from mintmark.jose import jws
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import KeySet


def test_a_remembered_token_is_refused_once_its_key_has_left_the_set() -> None:
    ours, other = key("ES256"), key("RS256")
    seen, token = SeenTokens(), jws.sign(b"{}", ours, typ="at+jwt")
    assert seen.verify(token, KeySet([ours])).payload == b"{}"
    assert seen.verify(token, KeySet([ours, other])).payload == b"{}"
    with pytest.raises(JoseError):
        seen.verify(token, KeySet([other]))


def test_a_forged_token_is_not_remembered() -> None:
    ours = key("ES256")
    seen, token = SeenTokens(), jws.sign(b"{}", ours, typ="at+jwt")
    forged = token[:-8] + ("A" * 8 if not token.endswith("A" * 8) else "B" * 8)
    for _ in range(2):
        with pytest.raises(JoseError):
            seen.verify(forged, KeySet([ours]))


def test_it_is_bounded_and_forgets_the_longest_unasked() -> None:
    ours = key("ES256")
    keys, seen = KeySet([ours]), SeenTokens(size=2)
    first, second, third = (jws.sign(bytes([n]), ours, typ="at+jwt") for n in range(3))
    remembered = seen.verify(first, keys)
    seen.verify(second, keys)
    assert seen.verify(first, keys) is remembered
    seen.verify(third, keys)
    assert seen.verify(first, keys) is remembered
    assert seen.verify(second, keys).payload == b"\x01"
