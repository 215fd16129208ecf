"""PyPI joserfc and PyJWT as judges: what we sign they accept, what they sign we accept, forged tokens nobody does."""

import json
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.errors import JoseError as JoserfcError
from tests.unit.jose.jose_keys import ALL, AUDIENCE, ISSUER, NOW, SECRET, claims, key, keys, refused

from mintmark.jose import jwk, jws, jwt
from mintmark.jose.algorithms import Algorithm

GENERATE: dict[Algorithm, Callable[[], Any]] = {
    "RS256": lambda: joserfc.jwk.generate_key("RSA", 2048),
    "ES256": lambda: joserfc.jwk.generate_key("EC", "P-256"),
    "EdDSA": lambda: joserfc.jwk.generate_key("OKP", "Ed25519"),
}
FAR: dict[str, Any] = claims(exp=2**40)


@cache
def joserfc_key(alg: Algorithm) -> Any:
    return joserfc.jwk.import_key(dict(key(alg).private_jwk()))


def joserfc_encode(alg: Algorithm, payload: dict[str, Any], typ: str) -> str:
    with warnings.catch_warnings():
        # It warns that "EdDSA" has a younger name (RFC 9864).
        warnings.simplefilter("ignore")
        return str(
            joserfc.jwt.encode(
                {"alg": alg, "kid": key(alg).kid, "typ": typ}, payload, joserfc_key(alg), algorithms=[alg]
            )
        )


def joserfc_decode(alg: Algorithm, token: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return joserfc.jwt.decode(token, joserfc_key(alg), algorithms=[alg])


def pyjwt_key(alg: Algorithm, *, private: bool) -> Any:
    return SECRET if alg == "HS256" else key(alg).signing if private else key(alg).verifying


def ours(token: str) -> dict[str, Any]:
    return jwt.decode(token, keys(), typ="JWT", issuer=ISSUER, audience=AUDIENCE, now=NOW)


def forged(token: str) -> str:
    header, payload, signature = token.split(".")
    return f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


@pytest.mark.spec("J01", "J07")
@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=5, deadline=None)
@given(
    extra=st.dictionaries(
        st.text('abcé:"\\/\u2028😀', max_size=6), st.text(max_size=8) | st.integers(0, 2**40), max_size=3
    )
)
def test_joserfc(alg: Algorithm, extra: dict[str, Any]) -> None:
    payload = extra | FAR
    made = jwt.encode(payload, key(alg), typ="JWT")
    judged = joserfc_decode(alg, made)
    assert judged.claims == payload
    assert judged.header == {"alg": alg, "kid": key(alg).kid, "typ": "JWT"}
    assert ours(joserfc_encode(alg, payload, "JWT")) == payload
    with pytest.raises(JoserfcError):
        joserfc_decode(alg, forged(made))
    with refused("bad_signature"):
        ours(forged(joserfc_encode(alg, payload, "JWT")))


@pytest.mark.spec("J01", "J07")
@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=5, deadline=None)
@given(
    extra=st.dictionaries(
        st.text('abcé:"\\/\u2028😀', max_size=6), st.text(max_size=8) | st.integers(0, 2**40), max_size=3
    )
)
def test_pyjwt(alg: Algorithm, extra: dict[str, Any]) -> None:
    payload = extra | FAR
    made = jwt.encode(payload, key(alg), typ="JWT")
    options: Any = {"verify_nbf": False, "verify_iat": False}
    verifying = pyjwt_key(alg, private=False)
    assert pyjwt.decode(made, verifying, algorithms=[alg], audience=AUDIENCE, issuer=ISSUER, options=options) == payload
    assert pyjwt.get_unverified_header(made) == {"alg": alg, "kid": key(alg).kid, "typ": "JWT"}
    theirs = pyjwt.encode(payload, pyjwt_key(alg, private=True), algorithm=alg, headers={"kid": key(alg).kid})
    assert ours(theirs) == payload
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(forged(made), verifying, algorithms=[alg], audience=AUDIENCE, options=options)
    with refused("bad_signature"):
        ours(forged(theirs))


@pytest.mark.spec("K01", "RFC 7638 §3")
@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_jwks_and_thumbprints_travel_both_ways(alg: Algorithm) -> None:
    judged = joserfc.jwk.import_key(dict(key(alg).public_jwk()))
    assert judged.thumbprint() == jwk.thumbprint(key(alg).public_jwk())
    theirs = GENERATE[alg]()
    for private in (True, False):
        loaded = jwk.from_jwk(dict(theirs.as_dict(private=private)), alg=alg)
        assert loaded.can_sign is private
        assert jwk.thumbprint(loaded.public_jwk()) == theirs.thumbprint()


@pytest.mark.spec("K01")
def test_pyjwt_reads_our_key_set() -> None:
    document = json.loads(json.dumps(keys().public_jwks()))
    judged = {one.key_id: one for one in pyjwt.PyJWKSet.from_dict(document).keys}
    assert set(judged) == {"rs", "ps", "es", "ed"}
    token = jws.sign(b'{"a":1}', key("ES256"), typ="JWT")
    assert pyjwt.decode(token, judged["es"], algorithms=["ES256"]) == {"a": 1}
    with pytest.raises(pyjwt.InvalidTokenError):
        pyjwt.decode(token, judged["ed"], algorithms=["EdDSA"])
