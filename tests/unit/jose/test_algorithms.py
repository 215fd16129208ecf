"""Signatures as such: conversions, salts, and forged PKCS#1 v1.5 paddings."""

import hashlib
from itertools import count
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.jose.jose_keys import ALL, key

from mintmark.jose.algorithms import ALGORITHMS, Algorithm

MESSAGE = b"header.payload"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def verifies(alg: Algorithm, signature: bytes, message: bytes = MESSAGE) -> bool:
    return ALGORITHMS[alg].verify(key(alg).verifying, signature, message)


def signed(alg: Algorithm, message: bytes = MESSAGE) -> bytes:
    return ALGORITHMS[alg].sign(key(alg).signing, message)


@pytest.mark.spec("J01", "J07")
@pytest.mark.parametrize("alg", ALL)
def test_a_signature_holds_only_for_its_message_and_as_it_is(alg: Algorithm) -> None:
    good = signed(alg)
    assert verifies(alg, good)
    assert not verifies(alg, good, MESSAGE + b"x")
    for bad in (b"", b"\x00", good[:-1], good + b"\x00", b"\x00" + good, bytes(len(good)), b"\xff" * len(good)):
        assert not verifies(alg, bad)


@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=30, deadline=None)
@given(bit=st.integers(0, 2047))
def test_any_flipped_bit_breaks_it(alg: Algorithm, bit: int) -> None:
    good = bytearray(signed(alg))
    bit %= 8 * len(good)
    good[bit // 8] ^= 1 << bit % 8
    assert not verifies(alg, bytes(good))


@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=30, deadline=None)
@given(garbage=st.binary(max_size=300))
def test_garbage_is_answered_with_false(alg: Algorithm, garbage: bytes) -> None:
    assert not verifies(alg, garbage)


@pytest.mark.spec("RFC 7518 §3.4", "J07")
def test_es256_is_raw_r_and_s_of_32_octets() -> None:
    private: Any = key("ES256").signing
    r, s = decode_dss_signature(private.sign(MESSAGE, ec.ECDSA(hashes.SHA256())))

    def raw(first: int, second: int, size: int = 32) -> bytes:
        return first.to_bytes(size, "big") + second.to_bytes(size, "big")

    assert verifies("ES256", raw(r, s))
    assert {len(signed("ES256")) for _ in range(20)} == {64}
    assert not verifies("ES256", encode_dss_signature(r, s))
    assert not verifies("ES256", raw(r, s, 33))
    # The same two numbers in 65 octets: only the length tells, and one signature must have one spelling.
    assert not verifies("ES256", raw(r, s)[:32] + b"\x00" + raw(r, s)[32:])
    for first, second in ((0, 0), (0, s), (r, 0), (P256_ORDER, s), (r, P256_ORDER), (1, 1), (s, r)):
        assert not verifies("ES256", raw(first, second))


@pytest.mark.spec("RFC 7518 §3.5")
@pytest.mark.parametrize(
    ("salt", "accepted"), [(32, True), (0, False), (20, False), (31, False), (33, False), (222, False)]
)
def test_ps256_wants_a_salt_as_long_as_the_hash(salt: int, accepted: bool) -> None:
    private: Any = key("PS256").signing
    signature = private.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
    assert verifies("PS256", signature) is accepted


@pytest.mark.spec("RFC 7518 §3.5")
def test_ps256_wants_sha256_in_the_mask_too() -> None:
    private: Any = key("PS256").signing
    assert not verifies("PS256", private.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256()))
    assert not verifies("PS256", signed("RS256"))
    assert not verifies("RS256", signed("PS256"))


def raw_rsa(encoded: bytes) -> bytes:
    """What the private key makes of any encoded message at all."""
    private = key("RS256").signing
    assert isinstance(private, rsa.RSAPrivateKey)
    numbers = private.private_numbers()
    n = numbers.public_numbers.n
    return pow(int.from_bytes(encoded, "big"), numbers.d, n).to_bytes(256, "big")


def digest_info(name: str = "sha256", *, oid: str = "0609608648016503040201", parameters: str = "0500") -> bytes:
    digest = hashlib.new(name, MESSAGE, usedforsecurity=False).digest()
    identifier = bytes.fromhex(oid + parameters)
    inner = b"\x30" + bytes([len(identifier)]) + identifier + b"\x04" + bytes([len(digest)]) + digest
    return b"\x30" + bytes([len(inner)]) + inner


def padded(info: bytes, *, start: bytes = b"\x00\x01", fill: bytes = b"\xff", end: bytes = b"\x00") -> bytes:
    count = 256 - len(start) - len(end) - len(info)
    return start + (fill * count)[:count] + end + info


GOOD = digest_info()
DIGEST = hashlib.sha256(MESSAGE).digest()
FORGED = {
    "block type 2": padded(GOOD, start=b"\x00\x02"),
    "block type 0": padded(GOOD, start=b"\x00\x00", fill=b"\x00"),
    "no leading zero": b"\x00" + padded(GOOD)[2:] + b"\x00",
    "fill of zeros": padded(GOOD, fill=b"\x00"),
    "fill with one odd octet": padded(GOOD)[:50] + b"\xfe" + padded(GOOD)[51:],
    "fill of random octets": padded(GOOD, fill=bytes(range(1, 255))),
    "no separator": padded(GOOD, end=b"\xff"),
    "early separator": padded(GOOD)[:40] + b"\x00" + padded(GOOD)[41:],
    "short padding, garbage behind (Bleichenbacher 2006)": b"\x00\x01" + b"\xff" * 8 + b"\x00" + GOOD + b"\x5a" * 194,
    "one octet behind": padded(GOOD + b"\x00"),
    "no padding at all": b"\x00\x01\x00" + GOOD + bytes(253 - len(GOOD)),
    "the bare digest": padded(DIGEST),
    "an octet string only": padded(b"\x04\x20" + DIGEST),
    "no parameters": padded(digest_info(parameters="")),
    "garbage in the parameters": padded(digest_info(parameters="0400")),
    "long null": padded(digest_info(parameters="058100")),
    "many octets in the parameters": padded(digest_info(parameters="0450" + "41" * 80)),
    "sha-1": padded(digest_info("sha1", oid="06052b0e03021a")),
    "sha-512": padded(digest_info("sha512", oid="0609608648016503040203")),
    "sha-256 under the name of sha-384": padded(digest_info(oid="0609608648016503040202")),
    "sha-224 under the name of sha-256": padded(digest_info("sha224")),
    "long form of the outer length": padded(b"\x30\x81" + GOOD[1:]),
    "long form of the digest length": padded(b"\x30\x32" + GOOD[2:17] + b"\x04\x04\x81\x20" + DIGEST),
    "wrong digest": padded(GOOD[:-1] + bytes([GOOD[-1] ^ 1])),
    "truncated digest": padded(GOOD[:-1]),
    "digest twice": padded(GOOD + DIGEST),
    "tag of a set": padded(b"\x31" + GOOD[1:]),
    "zero": bytes(256),
    "one": bytes(255) + b"\x01",
}


@pytest.mark.spec("J07", "RFC 8017 §8.2.2", "RFC 8725 §3.3")
def test_the_forger_can_make_the_one_good_padding() -> None:
    assert len(padded(GOOD)) == 256
    assert raw_rsa(padded(GOOD)) == signed("RS256")
    assert verifies("RS256", raw_rsa(padded(GOOD)))


@pytest.mark.spec("J07", "RFC 8017 §8.2.2", "RFC 8725 §3.3")
@pytest.mark.parametrize("name", FORGED)
def test_every_other_padding_is_refused(name: str) -> None:
    assert FORGED[name] != padded(GOOD)
    assert len(FORGED[name]) == 256
    assert not verifies("RS256", raw_rsa(FORGED[name]))


@pytest.mark.spec("J07", "RFC 8017 §8.2.2")
def test_a_signature_keeps_its_leading_zero() -> None:
    """One in 256 begins with an octet of zeros; without it, it is the same number and another text."""
    message = next(one for one in (b"%d" % number for number in count()) if signed("RS256", one)[0] == 0)
    assert verifies("RS256", signed("RS256", message), message)
    assert not verifies("RS256", signed("RS256", message)[1:], message)


@pytest.mark.spec("J07")
def test_a_signature_plus_the_modulus_is_refused() -> None:
    public: Any = key("RS256").verifying
    number = int.from_bytes(signed("RS256"), "big") + public.public_numbers().n
    assert not verifies("RS256", number.to_bytes(257, "big"))
