"""What makes tokens that are almost good: signed as they should be, whatever is in them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.support.issuers import API, key
from tests.support.verifying import ISSUER

from mintmark.jose import base64url, jws
from mintmark.jose.algorithms import ALGORITHMS, Algorithm
from mintmark.jose.jwk import Key

NOW: Final = 1_800_000_000
LEEWAY: Final = 30
ALGS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256", "EdDSA")

CLAIMS: Final[dict[str, Any]] = {
    "iss": ISSUER,
    "aud": API,
    "sub": "usr_ada",
    "client_id": "web",
    "jti": "jti-1",
    "gid": "gid-1",
    "iat": NOW,
    "exp": NOW + 300,
    "scope": "orders:read",
}

Cases = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Forge:
    """Makes tokens signed by one key, whatever is in them."""

    alg: Algorithm

    @property
    def key(self) -> Key:
        return key(f"differential-{self.alg}", self.alg)

    @property
    def stranger(self) -> Key:
        """Another key of the same kind, which nobody publishes."""
        return key(f"stranger-{self.alg}", self.alg)

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.alg, "kid": self.key.kid, "typ": "at+jwt"}

    def sign(self, message: bytes, signer: Key | None = None) -> bytes:
        signer = signer or self.key
        assert signer.signing is not None
        return ALGORITHMS[signer.alg].sign(signer.signing, message)

    def texts(self, header: bytes, payload: bytes, signer: Key | None = None) -> str:
        """A token of parts that are encoded already."""
        message = header + b"." + payload
        return jws.assemble(message, self.sign(message, signer))

    def raw(self, header: bytes | str | None = None, payload: bytes | str | None = None) -> str:
        """A token of any octets."""
        header = json.dumps(self.header) if header is None else header
        payload = json.dumps(CLAIMS) if payload is None else payload
        return self.texts(base64url.encode_bytes(_octets(header)), base64url.encode_bytes(_octets(payload)))

    def headed(self, **changed: Any) -> str:
        """A token with another header; a change to ``...`` leaves the member out."""
        return self.raw(header=json.dumps(_changed(self.header, changed)))

    def claiming(self, **changed: Any) -> str:
        """A token with other claims."""
        return self.raw(payload=json.dumps(_changed(CLAIMS, changed)))

    def signed_otherwise(self, sign: Callable[[bytes], bytes], **changed: Any) -> str:
        """A token with a signature that is not the key's own."""
        message = b".".join(
            base64url.encode_bytes(json.dumps(part).encode()) for part in (_changed(self.header, changed), CLAIMS)
        )
        return jws.assemble(message, sign(message))


def _octets(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _changed(good: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (good | changed).items() if value is not ...}


def shown(value: Any) -> str:
    said = "absent" if value is ... else json.dumps(value)
    return said if len(said) < 60 else f"{said[:40]}… of {len(said)}"
