"""Keys and small tools shared by the tests of `mintmark.jose`; RSA keys are generated once per process."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import pytest

from mintmark.jose import base64url, jwk, jws
from mintmark.jose.algorithms import ALGORITHMS, Algorithm
from mintmark.jose.errors import CODES, JoseError

ALL: Final[tuple[Algorithm, ...]] = ("RS256", "PS256", "ES256", "EdDSA", "HS256")
SECRET: Final = bytes(range(32))
NOW: Final = 1_700_000_000
ISSUER: Final = "https://issuer.example"
AUDIENCE: Final = "https://api.example"


@cache
def key(alg: Algorithm) -> jwk.Key:
    """One key per algorithm; RS256 and PS256 share the RSA key, under different names."""
    if alg == "HS256":
        return jwk.symmetric(SECRET, kid="hs")
    if alg == "PS256":
        rsa = key("RS256")
        return jwk.Key("ps", "PS256", rsa.verifying, rsa.signing)
    return jwk.generate(alg, kid={"RS256": "rs", "ES256": "es", "EdDSA": "ed"}[alg])


@cache
def keys() -> jwk.KeySet:
    return jwk.KeySet(key(alg) for alg in ALL)


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims; a change to `...` leaves the claim out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "nbf": NOW, "sub": "alice"}
    return {name: value for name, value in (good | changed).items() if value is not ...}


def forge(header: bytes | dict[str, Any], payload: bytes, signer: jwk.Key) -> str:
    """A token with any header at all, signed correctly by `signer`."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    message = b".".join((base64url.encode_bytes(raw), base64url.encode_bytes(payload)))
    return jws.assemble(message, ALGORITHMS[signer.alg].sign(signer.signing, message))


@contextmanager
def refused(*codes: str, claim: str | None = None) -> Iterator[None]:
    """The block is refused with one of `codes`."""
    assert set(codes) <= CODES
    with pytest.raises(JoseError) as caught:
        yield
    assert caught.value.code in codes, caught.value
    assert caught.value.claim == claim


def outcome(call: Callable[..., object], *args: object) -> str:
    """The code of the refusal, or `accepted`; any other exception passes."""
    try:
        call(*args)
    except JoseError as error:
        return error.code
    return "accepted"
