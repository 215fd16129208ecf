"""Mutations of what vouches for a token: signatures, and what may be taken for one."""

import json
from functools import partial
from hashlib import sha256, sha512
from hmac import digest
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.property.forge import ALGS, CLAIMS, NOW, Cases, Forge
from tests.support.issuers import key

from mintmark.jose import base64url, jws

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


def signatures(forge: Forge) -> Cases:
    """Signatures that are not those of the key over these octets."""
    good = forge.raw()
    head, body, encoded = good.split(".")
    signature = base64url.decode(encoded)
    message = f"{head}.{body}".encode()
    other = json.dumps(CLAIMS | {"sub": "usr_eve"}).encode()
    changed = {
        "empty": b"",
        "one octet": b"\0",
        "truncated": signature[:-1],
        "without its first octet": signature[1:],
        "half": signature[: len(signature) // 2],
        "an octet more": signature + b"\0",
        "an octet before": b"\0" + signature,
        "twice": signature * 2,
        "reversed": signature[::-1],
        "zeros": bytes(len(signature)),
        "ones": b"\xff" * len(signature),
        "the message": message,
        "a digest": sha256(message).digest(),
        "a stranger's": forge.sign(message, forge.stranger),
        "over the header": forge.sign(head.encode()),
        "over the claims": forge.sign(body.encode()),
        "over the digest": forge.sign(sha256(message).digest()),
        "over other claims": forge.sign(f"{head}.{base64url.encode(other)}".encode()),
        "as text": encoded.encode(),
    }
    for what, forged in changed.items():
        yield what, jws.assemble(message, forged)
    for place in range(0, len(signature), len(signature) // 8):
        flipped = bytearray(signature)
        flipped[place] ^= 1
        yield f"bit {place}", jws.assemble(message, bytes(flipped))
    for name in ("sub", "exp", "scope"):
        edited = base64url.encode(json.dumps(CLAIMS | {name: "usr_eve" if name != "exp" else NOW + 9999}).encode())
        yield f"edited {name}", f"{head}.{edited}.{encoded}"
    yield from _confused(forge)
    yield from {"RS256": _rsa, "ES256": _ecdsa, "EdDSA": _eddsa}[forge.alg](forge, message, signature)


def _confused(forge: Forge) -> Cases:
    """The public key taken for a secret, and no key at all."""
    public: Any = forge.key.verifying
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, spki)
    secrets = {
        "PEM": pem,
        "PEM without its newline": pem.strip(),
        "DER": public.public_bytes(serialization.Encoding.DER, spki),
        "JWK": json.dumps(forge.key.public_jwk()).encode(),
        "kid": forge.key.kid.encode(),
        "nothing": b"",
    }
    for what, secret in secrets.items():
        yield f"HS256 with the {what}", forge.signed_otherwise(partial(digest, secret, digest="sha256"), alg="HS256")
        yield (
            f"HMAC under its own name with the {what}",
            forge.signed_otherwise(partial(digest, secret, digest="sha256")),
        )
    for none in ("none", "None", "NONE", "nOnE", ""):
        yield f"unsigned, alg {none!r}", forge.signed_otherwise(lambda _: b"", alg=none)
        yield f"unsigned without kid, alg {none!r}", forge.signed_otherwise(lambda _: b"", alg=none, kid=...)
    yield (
        "own key in the header",
        forge.signed_otherwise(partial(forge.sign, signer=forge.stranger), jwk=forge.stranger.public_jwk()),
    )
    yield (
        "own kid in the header",
        forge.signed_otherwise(partial(forge.sign, signer=forge.stranger), kid=forge.stranger.kid),
    )
    for other in ALGS:
        if other != forge.alg:
            theirs = key(f"differential-{other}", other)
            yield (
                f"{other} with its own key, under this kid",
                forge.signed_otherwise(partial(forge.sign, signer=theirs), alg=other),
            )
            yield f"{other} signature under this alg", forge.signed_otherwise(partial(forge.sign, signer=theirs))


def _rsa(forge: Forge, message: bytes, signature: bytes) -> Cases:
    private = forge.key.signing
    assert isinstance(private, rsa.RSAPrivateKey)
    modulus = private.public_key().public_numbers().n
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    pkcs1 = padding.PKCS1v15()
    yield "PS256 under RS256", jws.assemble(message, private.sign(message, pss, hashes.SHA256()))
    yield "SHA-512 under RS256", jws.assemble(message, private.sign(message, pkcs1, hashes.SHA512()))
    yield "PS256 as it is", forge.signed_otherwise(lambda m: private.sign(m, pss, hashes.SHA256()), alg="PS256")
    yield "RS512 as it is", forge.signed_otherwise(lambda m: private.sign(m, pkcs1, hashes.SHA512()), alg="RS512")
    number = int.from_bytes(signature)
    yield "modulus minus it", jws.assemble(message, (modulus - number).to_bytes(256))
    yield "plus the modulus", jws.assemble(message, (number + modulus).to_bytes(257))
    yield "one", jws.assemble(message, (1).to_bytes(256))
    yield "the modulus", jws.assemble(message, modulus.to_bytes(256))
    yield "raw digest info", jws.assemble(message, sha512(message).digest() * 4)


def _ecdsa(forge: Forge, message: bytes, signature: bytes) -> Cases:
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    order = P256_ORDER

    def pair(one: int, two: int) -> str:
        return jws.assemble(message, one.to_bytes(32) + two.to_bytes(32))

    yield "DER", jws.assemble(message, encode_dss_signature(r, s))
    yield "r and s swapped", pair(s, r)
    yield "r zero", pair(0, s)
    yield "s zero", pair(r, 0)
    yield "both one", pair(1, 1)
    yield "r the order", pair(order, s)
    yield "s the order", pair(r, order)
    yield "s negated", pair(r, order - s)
    longer = ec.generate_private_key(ec.SECP384R1())
    r, s = decode_dss_signature(longer.sign(message, ec.ECDSA(hashes.SHA384())))
    yield "P-384", jws.assemble(message, r.to_bytes(48) + s.to_bytes(48))


def _eddsa(forge: Forge, message: bytes, signature: bytes) -> Cases:
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    yield "s plus the order", jws.assemble(message, r + (s + ED25519_ORDER).to_bytes(32, "little"))
    yield "s the order", jws.assemble(message, r + ED25519_ORDER.to_bytes(32, "little"))
    yield "r the neutral point", jws.assemble(message, (1).to_bytes(32, "little") + bytes(32))
    yield (
        "r of order eight",
        jws.assemble(
            message, bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a") + bytes(32)
        ),
    )
    private = forge.key.signing
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    yield "over a digest", jws.assemble(message, private.sign(sha512(message).digest()))
