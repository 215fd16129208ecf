"""base64url without padding, canonical form only (RFC 7515 §2, RFC 4648 §5 and §3.5)."""

from binascii import b2a_base64
from typing import Final

import msgspec

from mintmark.jose.errors import JoseError

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# Everything outside the alphabet, "+", "/" and "=" included, becomes "!", which the decoder refuses.
_FROM_URL: Final = bytes(
    (octet if octet not in b"-_" else b"+/"[b"-_".index(octet)]) if octet in _ALPHABET else 0x21 for octet in range(256)
)
# What has to follow, by 256 times the characters of a partial group plus the last of them: that may not carry bits that
# no octet holds (RFC 4648 §3.5), and one alone is none.
_ENDS: Final = (
    dict.fromkeys(range(256), b'"')
    | {2 * 256 + last: b'=="' for last in _ALPHABET[::16]}
    | {3 * 256 + last: b'="' for last in _ALPHABET[::4]}
)

# msgspec decodes a JSON string to bytes faster than binascii does, and does not skip foreign characters.
_decode_quoted: Final = msgspec.json.Decoder(bytes).decode


def encode_bytes(data: bytes) -> bytes:
    """Encode `data` as unpadded base64url, as ASCII octets."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def encode(data: bytes) -> str:
    """Encode `data` as unpadded base64url."""
    return encode_bytes(data).decode("ascii")


def decode(text: str) -> bytes:
    """Decode unpadded base64url; exactly what `encode` can produce is accepted.

    Raises:
        JoseError: `malformed` for padding, white space, foreign characters, an impossible length or stray bits.
    """
    # What is not ASCII becomes "?", which is refused: an UnicodeEncodeError would carry the text along.
    octets = text.encode("ascii", "replace")
    end = _ENDS.get(len(octets) % 4 * 256 + octets[-1] if octets else 0)
    if end is None:
        raise JoseError("malformed", "not canonical base64url")
    try:
        return _decode_quoted(b'"' + octets.translate(_FROM_URL) + end)
    except msgspec.DecodeError:
        pass
    raise JoseError("malformed", "not base64url")
