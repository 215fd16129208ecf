import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.jose.jose_keys import outcome, refused

from mintmark.jose import base64url


@pytest.mark.spec("J06", "RFC 7515 §C")
def test_the_example_of_the_rfc() -> None:
    assert base64url.encode(bytes([3, 236, 255, 224, 193])) == "A-z_4ME"
    assert base64url.decode("A-z_4ME") == bytes([3, 236, 255, 224, 193])


@pytest.mark.spec("J06", "RFC 7515 §2")
@pytest.mark.parametrize(
    "text",
    ["QQ==", "QQ=", "QQ\n", " QQ", "Q Q", "QQ\r\n", "Q", "QUJDR", "+w", "/w", "QR", "QUF", "Q!", 'Q"', "Q\\", "é", "Q\uff31", "Q\ud800",
     "QUJD=", "QUJDQQ==", "QU\x00D", "QQ==QQ=="],
)  # fmt: skip
def test_only_the_canonical_form_is_accepted(text: str) -> None:
    with refused("malformed"):
        base64url.decode(text)
    assert base64url.decode("QQ") == b"A"
    assert base64url.decode("QUI") == b"AB"
    assert base64url.decode("") == b""


@pytest.mark.spec("J06")
@given(st.binary(max_size=80))
def test_round_trip(data: bytes) -> None:
    text = base64url.encode(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert text.encode() == base64url.encode_bytes(data)
    assert base64url.decode(text) == data


@pytest.mark.spec("J06")
def test_every_pair_of_octets_is_judged_as_a_round_trip_would() -> None:
    canonical = {base64url.encode(bytes([octet])) for octet in range(256)}
    for first in range(256):
        for second in range(256):
            text = chr(first) + chr(second)
            assert (outcome(base64url.decode, text) == "accepted") == (text in canonical)


@given(st.text(max_size=40) | st.text("AQgwE-_=+/ \n", max_size=12))
def test_what_decodes_encodes_to_the_same_text(text: str) -> None:
    if outcome(base64url.decode, text) == "accepted":
        assert base64url.encode(base64url.decode(text)) == text
