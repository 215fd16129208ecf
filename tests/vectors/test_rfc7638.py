"""RFC 7638 §3.1: the example thumbprint."""

import pytest

from mintmark.jose import jwk

EXAMPLE = {
    "kty": "RSA",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    ),
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.spec("RFC 7638 §3.1")
def test_the_example() -> None:
    assert jwk.thumbprint(EXAMPLE) == THUMBPRINT


@pytest.mark.spec("RFC 7638 §3.2.1")
def test_only_the_required_members_count() -> None:
    bare = {name: EXAMPLE[name] for name in ("n", "kty", "e")}
    assert jwk.thumbprint(bare) == THUMBPRINT
    assert jwk.thumbprint(bare | {"e": "AQAD"}) != THUMBPRINT
    assert jwk.from_jwk(bare, alg="RS256").kid == THUMBPRINT
