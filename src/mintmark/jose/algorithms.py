"""The signature algorithms: how each signs and verifies with a loaded key (RFC 7518 §3, RFC 8037 §3.1)."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA", "HS256"]

VerifyingMaterial = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | bytes
SigningMaterial = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | bytes

# Stateless descriptions, made once: making them per call costs about a microsecond.
_SHA256: Final = hashes.SHA256()
_PKCS1: Final = padding.PKCS1v15()
# RFC 7518 §3.5: the salt is as long as the hash, 32 octets.
_PSS: Final = padding.PSS(padding.MGF1(_SHA256), _SHA256.digest_size)
_ECDSA: Final = ec.ECDSA(_SHA256)
_P256_OCTETS: Final = 32
# RFC 8017 §9.2 note 1: what stands before the digest.
_SHA256_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")


@dataclass(frozen=True, slots=True)
class Scheme:
    """One algorithm.

    Attributes:
        kty: the JWK key type it needs.
        crv: the JWK curve it needs, None where the key type has no curves.
        sign: `(signing material, message) -> signature`.
        verify: `(verifying material, signature, message) -> whether it holds`; never raises for a bad signature.
    """

    kty: str
    crv: str | None
    sign: Callable[[Any, bytes], bytes]
    verify: Callable[[Any, bytes, bytes], bool]


def _sign_rs256(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    return key.sign(message, _PKCS1, _SHA256)


def _verify_rs256(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    # RFC 8017 §8.2.2 step by step. `verify` does the same and takes an eighth longer, to look up its hash. What was
    # recovered is compared octet for octet, and never parsed; a signature without its leading zero is none.
    if len(signature) != (key.key_size + 7) // 8:
        return False
    try:
        recovered = key.recover_data_from_signature(signature, _PKCS1, None)
    except InvalidSignature:
        return False
    return recovered == _SHA256_INFO + sha256(message).digest()


def _sign_ps256(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    return key.sign(message, _PSS, _SHA256)


def _verify_ps256(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, _PSS, _SHA256)
    except InvalidSignature:
        return False
    return True


def _sign_es256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(message, _ECDSA))
    return r.to_bytes(_P256_OCTETS, "big") + s.to_bytes(_P256_OCTETS, "big")


def _verify_es256(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    # RFC 7518 §3.4: r and s, 32 octets each; DER is not accepted.
    if len(signature) != 2 * _P256_OCTETS:
        return False
    r = int.from_bytes(signature[:_P256_OCTETS], "big")
    s = int.from_bytes(signature[_P256_OCTETS:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _sign_eddsa(key: ed25519.Ed25519PrivateKey, message: bytes) -> bytes:
    return key.sign(message)


def _verify_eddsa(key: ed25519.Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _sign_hs256(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, "sha256")


def _verify_hs256(secret: bytes, signature: bytes, message: bytes) -> bool:
    return hmac.compare_digest(signature, hmac.digest(secret, message, "sha256"))


ALGORITHMS: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        "RS256": Scheme("RSA", None, _sign_rs256, _verify_rs256),
        "PS256": Scheme("RSA", None, _sign_ps256, _verify_ps256),
        "ES256": Scheme("EC", "P-256", _sign_es256, _verify_es256),
        "EdDSA": Scheme("OKP", "Ed25519", _sign_eddsa, _verify_eddsa),
        "HS256": Scheme("oct", None, _sign_hs256, _verify_hs256),
    }
)
