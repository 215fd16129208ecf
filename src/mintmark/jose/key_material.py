"""JWK members <-> loaded `cryptography` keys (RFC 7518 §6, RFC 8037 §2).

Weak keys are refused here and nowhere else (RFC 8725 §3.5). Rules:
- RSA: 2048 to 8192 bits, odd modulus, odd exponent from 65537 up to 64 bits; a private key comes with its CRT members.
- EC: P-256, the point lies on the curve, coordinates are 32 octets each.
- OKP: Ed25519, 32 octets, no point of small order.
- oct: 32 octets at least.
- A private key belongs to the public key beside it.
"""

from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mintmark.jose import base64url
from mintmark.jose.algorithms import SigningMaterial, VerifyingMaterial
from mintmark.jose.errors import JoseError

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
MIN_RSA_EXPONENT: Final = 65537
# OpenSSL takes no longer exponent for large moduli; a longer one only makes verification slow.
MAX_RSA_EXPONENT_BITS: Final = 64
MIN_SECRET_BYTES: Final = 32
MAX_SECRET_BYTES: Final = 1024

# An 8192 bit modulus is 1366 characters; nothing else in a key is longer.
_MAX_MEMBER_CHARS: Final = 1366
_CURVE_OCTETS: Final = 32
_P256: Final = ec.SECP256R1()
_RSA_CRT: Final = ("p", "q", "dp", "dq", "qi")

# y of the points of order 1, 2, 4 and 8 modulo the field prime: with such a "key" anybody can sign (RFC 8032 §5.1).
_FIELD_25519: Final = 2**255 - 19
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _FIELD_25519 - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)

Loaded = tuple[VerifyingMaterial, SigningMaterial | None]


def load(jwk: Mapping[str, Any]) -> Loaded:
    """Load the key a JWK describes: `(verifying material, signing material or None)`.

    Raises:
        JoseError: `bad_key` when the key is malformed, weak, of an unknown type, or contradicts itself.
    """
    kty = jwk.get("kty")
    loader = _LOADERS.get(kty) if isinstance(kty, str) else None
    if loader is None:
        raise JoseError("bad_key", "unknown kty")
    try:
        return loader(jwk)
    except (ValueError, UnsupportedAlgorithm):
        # Texts of the library below could name values: they go no further.
        pass
    raise JoseError("bad_key", "the key is not a valid one of its type")


def check_secret(secret: bytes) -> bytes:
    """Return `secret` if its length suits HMAC-SHA-256 (RFC 7518 §3.2).

    Raises:
        JoseError: `bad_key` below 32 or above 1024 octets.
    """
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise JoseError("bad_key", "a secret has 32 to 1024 octets")
    return secret


def public_members(material: VerifyingMaterial) -> dict[str, str]:
    """Return the public JWK members, `kty` included; for a secret `kty` is all there is."""
    if isinstance(material, rsa.RSAPublicKey):
        rsa_numbers = material.public_numbers()
        return {"kty": "RSA", "n": _encode_uint(rsa_numbers.n), "e": _encode_uint(rsa_numbers.e)}
    if isinstance(material, ec.EllipticCurvePublicKey):
        point = material.public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": _encode_coordinate(point.x), "y": _encode_coordinate(point.y)}
    if isinstance(material, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(material.public_bytes_raw())}
    return {"kty": "oct"}


def private_members(material: SigningMaterial) -> dict[str, str]:
    """Return the private JWK members only (RFC 7518 §6.2.2, §6.3.2, §6.4.1)."""
    if isinstance(material, rsa.RSAPrivateKey):
        numbers = material.private_numbers()
        return {
            "d": _encode_uint(numbers.d),
            "p": _encode_uint(numbers.p),
            "q": _encode_uint(numbers.q),
            "dp": _encode_uint(numbers.dmp1),
            "dq": _encode_uint(numbers.dmq1),
            "qi": _encode_uint(numbers.iqmp),
        }
    if isinstance(material, ec.EllipticCurvePrivateKey):
        return {"d": _encode_coordinate(material.private_numbers().private_value)}
    if isinstance(material, ed25519.Ed25519PrivateKey):
        return {"d": base64url.encode(material.private_bytes_raw())}
    return {"k": base64url.encode(material)}


def _encode_uint(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _encode_coordinate(number: int) -> str:
    # RFC 7518 §6.2.1.2: always the full size of the curve, leading zeros included.
    return base64url.encode(number.to_bytes(_CURVE_OCTETS, "big"))


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if type(text) is not str or not 0 < len(text) <= _MAX_MEMBER_CHARS:
        raise JoseError("bad_key", "a member is missing, no text, or too long")
    try:
        return base64url.decode(text)
    except JoseError:
        pass
    raise JoseError("bad_key", "a member is not base64url")


def _uint(jwk: Mapping[str, Any], name: str) -> int:
    octets = _octets(jwk, name)
    # RFC 7518 §2, Base64urlUInt: the minimum number of octets. Two spellings of one key would have two thumbprints.
    if octets[0] == 0:
        raise JoseError("bad_key", "a number has leading zero octets")
    return int.from_bytes(octets, "big")


def _coordinate(jwk: Mapping[str, Any], name: str) -> bytes:
    octets = _octets(jwk, name)
    if len(octets) != _CURVE_OCTETS:
        raise JoseError("bad_key", "a coordinate has not the size of its curve")
    return octets


def _load_rsa(jwk: Mapping[str, Any]) -> Loaded:
    n, e = _uint(jwk, "n"), _uint(jwk, "e")
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS or n % 2 == 0:
        raise JoseError("bad_key", "an RSA modulus is odd and has 2048 to 8192 bits")
    if e < MIN_RSA_EXPONENT or e % 2 == 0 or e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise JoseError("bad_key", "an RSA exponent is odd, 65537 or more, and has up to 64 bits")
    public = rsa.RSAPublicNumbers(e, n)
    if "d" not in jwk:
        if any(name in jwk for name in _RSA_CRT):
            raise JoseError("bad_key", "private members without a private exponent")
        return public.public_key(), None
    if "oth" in jwk:
        raise JoseError("bad_key", "more than two primes")
    p, q, dp, dq, qi = (_uint(jwk, name) for name in _RSA_CRT)
    private = rsa.RSAPrivateNumbers(p, q, _uint(jwk, "d"), dp, dq, qi, public).private_key()
    return private.public_key(), private


def _load_ec(jwk: Mapping[str, Any]) -> Loaded:
    if jwk.get("crv") != "P-256":
        raise JoseError("bad_key", "unknown curve")
    x, y = (int.from_bytes(_coordinate(jwk, name), "big") for name in ("x", "y"))
    numbers = ec.EllipticCurvePublicNumbers(x, y, _P256)
    public = numbers.public_key()
    if "d" not in jwk:
        return public, None
    private = ec.derive_private_key(int.from_bytes(_coordinate(jwk, "d"), "big"), _P256)
    if private.public_key().public_numbers() != numbers:
        raise JoseError("bad_key", "private and public key do not belong together")
    return public, private


def _load_okp(jwk: Mapping[str, Any]) -> Loaded:
    if jwk.get("crv") != "Ed25519":
        raise JoseError("bad_key", "unknown curve")
    x = _coordinate(jwk, "x")
    if (int.from_bytes(x, "little") & (2**255 - 1)) % _FIELD_25519 in _SMALL_ORDER_Y:
        raise JoseError("bad_key", "a point of small order")
    public = ed25519.Ed25519PublicKey.from_public_bytes(x)
    if "d" not in jwk:
        return public, None
    private = ed25519.Ed25519PrivateKey.from_private_bytes(_coordinate(jwk, "d"))
    if private.public_key().public_bytes_raw() != x:
        raise JoseError("bad_key", "private and public key do not belong together")
    return public, private


def _load_oct(jwk: Mapping[str, Any]) -> Loaded:
    secret = check_secret(_octets(jwk, "k"))
    return secret, secret


_LOADERS: Final = {"RSA": _load_rsa, "EC": _load_ec, "OKP": _load_okp, "oct": _load_oct}
