"""JSON Web Keys: one key with one algorithm, and immutable sets of them (RFC 7517, RFC 7638, RFC 8725 §3.1)."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self, cast, final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mintmark.jose import base64url, key_material, strict_json
from mintmark.jose.algorithms import ALGORITHMS, Algorithm, SigningMaterial, VerifyingMaterial
from mintmark.jose.errors import JoseError

MAX_KID_CHARS: Final = 256
MAX_KEYS: Final = 256
"""Keys in one set: loading one costs a little, and a foreign set is not bounded otherwise."""
_MAX_MEMBERS: Final = 64

# RFC 7638 §3.2, RFC 8037 §2, RFC 7638 §3.2.2: already in lexicographic order.
_THUMBPRINT_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
    "oct": ("k", "kty"),
}

VerifiedHeaders = dict[str, tuple[Mapping[str, Any], "Key"]]


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Key:
    """One key, loaded once, pinned to one algorithm. Made by `generate`, `symmetric` or `from_jwk`.

    Attributes:
        kid: key id, 1 to 256 characters.
        alg: the only algorithm this key is ever used with (RFC 8725 §3.1).
        verifying: loaded public key; the secret octets for HS256.
        signing: loaded private key or secret octets; None for a public key.
        encoded_headers: encoded JWS headers by `typ`, kept by `jws.signing_input`.
        verified_headers: headers under which a signature held, kept by `jws.verify`.
    """

    kid: str
    alg: Algorithm
    verifying: VerifyingMaterial
    signing: SigningMaterial | None = None
    encoded_headers: dict[str | None, bytes] = field(default_factory=dict)
    verified_headers: VerifiedHeaders = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_kid(self.kid)

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, alg={self.alg!r}, can_sign={self.can_sign}, material=<masked>)"

    @property
    def can_sign(self) -> bool:
        """Whether private material is present."""
        return self.signing is not None

    def public_jwk(self) -> dict[str, str]:
        """Return the public JWK: `kty`, `use`, `alg`, `kid` and the public members, never a private one.

        Raises:
            JoseError: `bad_key` for a symmetric key, which has no public form.
        """
        if isinstance(self.verifying, bytes):
            raise JoseError("bad_key", "a symmetric key has no public form")
        return self._jwk()

    def private_jwk(self) -> dict[str, str]:
        """Return the JWK with its private members, to be sealed before it is stored.

        Raises:
            JoseError: `bad_key` when the key holds no private material.
        """
        if self.signing is None:
            raise JoseError("bad_key", "no private material")
        return self._jwk() | key_material.private_members(self.signing)

    def _jwk(self) -> dict[str, str]:
        members = key_material.public_members(self.verifying)
        return {"kty": members.pop("kty"), "use": "sig", "alg": self.alg, "kid": self.kid, **members}


@final
class KeySet(Mapping[str, Key]):
    """An immutable set of keys by `kid`.

    Raises:
        JoseError: `bad_key` when two keys share a `kid`.
    """

    __slots__ = ("_keys", "verified_headers")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        by_kid: dict[str, Key] = {}
        for key in keys:
            if key.kid in by_kid:
                raise JoseError("bad_key", "two keys share a kid")
            by_kid[key.kid] = key
        self._keys: Final = MappingProxyType(by_kid)
        self.verified_headers: Final[VerifiedHeaders] = {}

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any], *, alg: Algorithm | None = None) -> Self:
        """Load a JWK Set; keys that cannot be used are skipped (RFC 7517 §5), symmetric ones always.

        Args:
            jwks: the parsed document, `{"keys": [...]}`.
            alg: use only keys of this algorithm, and those that name none.

        Raises:
            JoseError: `malformed` when it is no JWK Set, `too_large` beyond `MAX_KEYS`, `bad_key` when two usable
                keys share a `kid`.
        """
        listed = jwks.get("keys")
        if not isinstance(listed, list):
            raise JoseError("malformed", "not a JWK Set")
        if len(listed) > MAX_KEYS:
            raise JoseError("too_large", "too many keys")
        return cls(key for entry in listed if (key := _usable(entry, alg)) is not None)

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set to publish: public members only, symmetric keys left out."""
        return {"keys": [key.public_jwk() for key in self._keys.values() if key.alg != "HS256"]}

    def __getitem__(self, kid: str) -> Key:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeySet({list(self._keys.values())!r})"


def generate(alg: Algorithm, *, kid: str | None = None) -> Key:
    """Generate a key pair: RSA 2048 with e = 65537, P-256, or Ed25519.

    Args:
        alg: the algorithm the key is pinned to.
        kid: key id; the RFC 7638 thumbprint where None.

    Raises:
        JoseError: `unsupported_alg` for HS256 (see `symmetric`) and unknown algorithms.
    """
    private: SigningMaterial
    if alg in ("RS256", "PS256"):
        private = rsa.generate_private_key(key_material.MIN_RSA_EXPONENT, key_material.MIN_RSA_BITS)
    elif alg == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    elif alg == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        raise JoseError("unsupported_alg", "no key pair for this algorithm")
    public = private.public_key()
    return Key(thumbprint(key_material.public_members(public)) if kid is None else kid, alg, public, private)


def symmetric(secret: bytes, *, kid: str) -> Key:
    """Make an HS256 key of random octets, never of a password (RFC 8725 §3.5).

    Args:
        secret: 32 to 1024 octets.
        kid: key id; never derived, for a digest of the secret must not travel.

    Raises:
        JoseError: `bad_key` for a secret or a kid out of bounds.
    """
    key_material.check_secret(secret)
    return Key(kid, "HS256", secret, secret)


def from_jwk(jwk: Mapping[str, Any], *, alg: Algorithm | None = None) -> Key:
    """Load one JWK, strictly, and pin it to one algorithm.

    Args:
        jwk: the parsed JWK, public or private; `kid` defaults to the thumbprint, except for a symmetric key.
        alg: the algorithm to pin where the JWK names none; where it names one, both must agree.

    Raises:
        JoseError: `unsupported_alg` for an algorithm that is not ours; `bad_key` for everything else: malformed,
            weak, off-curve, no algorithm, another `use` than `sig`, `key_ops` that do not allow the use.
    """
    if len(jwk) > _MAX_MEMBERS:
        raise JoseError("bad_key", "too many members")
    pinned = _pinned_algorithm(jwk, alg)
    scheme = ALGORITHMS[pinned]
    if jwk.get("kty") != scheme.kty or (scheme.crv is not None and jwk.get("crv") != scheme.crv):
        raise JoseError("bad_key", "the key type does not suit the algorithm")
    _check_use(jwk)
    verifying, signing = key_material.load(jwk)
    if "kid" in jwk:
        kid = jwk["kid"]
    elif scheme.kty == "oct":
        raise JoseError("bad_key", "a symmetric key needs a kid")
    else:
        kid = thumbprint(key_material.public_members(verifying))
    return Key(kid, pinned, verifying, signing)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a JWK, base64url (RFC 7638 §3).

    Raises:
        JoseError: `bad_key` for an unknown `kty` or a required member that is missing or no text.
    """
    kty = jwk.get("kty")
    names = _THUMBPRINT_MEMBERS.get(kty) if isinstance(kty, str) else None
    if names is None:
        raise JoseError("bad_key", "unknown kty")
    members = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) for value in members.values()):
        raise JoseError("bad_key", "a required member is missing or no text")
    return base64url.encode(hashlib.sha256(strict_json.dumps(members)).digest())


def _check_kid(kid: Any) -> None:
    # Half a surrogate pair cannot be written into a header.
    if type(kid) is not str or not 0 < len(kid) <= MAX_KID_CHARS or any("\ud800" <= char <= "\udfff" for char in kid):
        raise JoseError("bad_key", "a kid is text of 1 to 256 characters")


def _pinned_algorithm(jwk: Mapping[str, Any], alg: Algorithm | None) -> Algorithm:
    stated = jwk.get("alg", alg)
    if stated is None:
        raise JoseError("bad_key", "neither the JWK nor the caller names an algorithm")
    if not isinstance(stated, str) or stated not in ALGORITHMS:
        raise JoseError("unsupported_alg", "not an algorithm of ours")
    if alg is not None and stated != alg:
        raise JoseError("bad_key", "the JWK is for another algorithm")
    return cast("Algorithm", stated)


def _check_use(jwk: Mapping[str, Any]) -> None:
    if "use" in jwk and jwk["use"] != "sig":
        raise JoseError("bad_key", "the key is not for signatures")
    if "key_ops" not in jwk:
        return
    operations = jwk["key_ops"]
    if not isinstance(operations, list) or not all(isinstance(operation, str) for operation in operations):
        raise JoseError("bad_key", "key_ops is a list of texts")
    # RFC 7517 §4.3: no duplicates; unrelated operations are not to be mixed.
    if len(set(operations)) != len(operations) or not set(operations) <= {"sign", "verify"}:
        raise JoseError("bad_key", "key_ops are not those of a signature key")
    needed = {"sign", "verify"} if jwk.get("kty") == "oct" else {"sign"} if "d" in jwk else {"verify"}
    if not needed <= set(operations):
        raise JoseError("bad_key", "key_ops do not allow this use")


def _usable(entry: Any, alg: Algorithm | None) -> Key | None:
    if not isinstance(entry, Mapping) or entry.get("kty") == "oct":
        return None
    try:
        return from_jwk(entry, alg=alg)
    except JoseError:
        return None
