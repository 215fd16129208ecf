"""JSON Web Signature, compact form only (RFC 7515), as RFC 8725 wants it verified.

Rules of `verify`, in the order they are applied:
- size before any work, ASCII, exactly three parts, none of header and signature empty;
- the header is one JSON object without repeated names;
- `crit`, `b64` and every member that would bring a key along (`jwk`, `jku`, `x5u`, `x5c`) are refused, never followed;
- `kid` is only looked up; the algorithm is the key's, and the header has to agree;
- the payload is not looked at before the signature held.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from mintmark.jose import base64url, strict_json
from mintmark.jose.algorithms import ALGORITHMS
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import MAX_KID_CHARS, Key, KeySet

MAX_BYTES: Final = 16384
"""The default limit for a whole token, octets."""

# A key set sees a handful of distinct headers. Only headers whose signature held are kept, so who cannot sign cannot
# fill the store; who can sign and varies its headers only makes it start afresh.
_MAX_KEPT_HEADERS: Final = 64
_MAX_KEPT_HEADER_BYTES: Final = 1024

# RFC 8725 §3.10: a key that came with the token proves nothing, and fetching one is a request forged by the sender.
_KEY_BEARING: Final = ("jwk", "jku", "x5u", "x5c")


class Verified(msgspec.Struct, frozen=True, gc=False):
    """What a valid signature vouches for.

    Attributes:
        header: the protected header, read only.
        payload: the signed octets.
        key: the key that verified.
    """

    header: Mapping[str, Any]
    payload: bytes
    key: Key


def signing_input(payload: bytes, key: Key, typ: str | None) -> bytes:
    """Return the octets to sign: `BASE64URL(header) . BASE64URL(payload)` (RFC 7515 §5.1).

    Args:
        payload: the octets the token carries.
        key: gives `alg` and `kid`.
        typ: media type of the whole token without `application/`, None for no `typ`.
    """
    header = key.encoded_headers.get(typ)
    if header is None:
        header = _encode_header(key, typ)
    return b"%b.%b" % (header, base64url.encode_bytes(payload))


def sign_input(key: Key, signing_input: bytes) -> bytes:
    """Return the raw signature over `signing_input`: the slow part, safe to run on a thread.

    Raises:
        JoseError: `bad_key` when the key holds no private material.
    """
    if key.signing is None:
        raise JoseError("bad_key", "no private material")
    return ALGORITHMS[key.alg].sign(key.signing, signing_input)


def assemble(signing_input: bytes, signature: bytes) -> str:
    """Return the compact token made of both."""
    return (b"%b.%b" % (signing_input, base64url.encode_bytes(signature))).decode("ascii")


def sign(payload: bytes, key: Key, *, typ: str | None) -> str:
    """Sign `payload` and return the compact token.

    Args:
        payload: the octets the token carries.
        key: a key with private material.
        typ: media type of the whole token without `application/`, None for no `typ`.

    Raises:
        JoseError: `bad_key` when the key holds no private material.
    """
    message = signing_input(payload, key, typ)
    return assemble(message, sign_input(key, message))


def verify(token: str, keys: KeySet | Key, *, max_bytes: int = MAX_BYTES) -> Verified:
    """Verify a compact token; nothing of it is returned unless the signature holds.

    Args:
        token: the compact form.
        keys: a set to look the `kid` up in, or the one key that must have signed.
        max_bytes: longest token that is looked at, octets.

    Raises:
        JoseError: `too_large`, `malformed`, `unsupported_crit`, `unsupported_alg`, `unknown_key`, `bad_signature`.
    """
    if len(token) > max_bytes:
        raise JoseError("too_large", "the token is longer than allowed")
    if not token.isascii():
        raise JoseError("malformed", "not ASCII")
    # As text: looking for a character in octets takes twice as long.
    message, _, encoded_signature = token.rpartition(".")
    encoded_header, dot, encoded_payload = message.partition(".")
    if not (encoded_header and dot and encoded_signature) or "." in encoded_payload:
        raise JoseError("malformed", "not a compact token of three parts")
    kept = keys.verified_headers.get(encoded_header)
    header, key = kept or _resolve(encoded_header, keys)
    signature = base64url.decode(encoded_signature)
    if not ALGORITHMS[key.alg].verify(key.verifying, signature, message.encode()):
        raise JoseError("bad_signature", "the signature does not hold")
    if kept is None:
        _keep(keys, encoded_header, header, key)
    return Verified(header, base64url.decode(encoded_payload), key)


def _encode_header(key: Key, typ: str | None) -> bytes:
    header = {"alg": key.alg, "kid": key.kid}
    if typ is not None:
        header["typ"] = typ
    encoded = base64url.encode_bytes(strict_json.dumps(header))
    if len(key.encoded_headers) >= _MAX_KEPT_HEADERS:
        key.encoded_headers.clear()
    key.encoded_headers[typ] = encoded
    return encoded


def _resolve(encoded_header: str, keys: KeySet | Key) -> tuple[Mapping[str, Any], Key]:
    """Parse and judge a header, and find its key."""
    header = strict_json.loads_object(base64url.decode(encoded_header))
    # RFC 7515 §4.1.11: we understand no extension, so any `crit` names one we do not. `b64` is RFC 7797.
    if "crit" in header or "b64" in header:
        raise JoseError("unsupported_crit", "no extension is supported")
    for name in _KEY_BEARING:
        if name in header:
            raise JoseError("malformed", "the header brings a key along")
    alg = header.get("alg")
    if type(alg) is not str:
        raise JoseError("malformed", "alg is missing or no text")
    if alg not in ALGORITHMS:
        raise JoseError("unsupported_alg", "not an algorithm of ours")
    if "typ" in header and type(header["typ"]) is not str:
        raise JoseError("malformed", "typ is no text")
    key = _look_up(header, keys)
    if alg != key.alg:
        raise JoseError("unsupported_alg", "not the algorithm of the key")
    return MappingProxyType(header), key


def _look_up(header: dict[str, Any], keys: KeySet | Key) -> Key:
    key: Key | None
    if "kid" not in header:
        key = keys if isinstance(keys, Key) else None
    else:
        kid = header["kid"]
        if type(kid) is not str or len(kid) > MAX_KID_CHARS:
            raise JoseError("malformed", "kid is no text, or too long")
        key = (keys if kid == keys.kid else None) if isinstance(keys, Key) else keys.get(kid)
    if key is None:
        raise JoseError("unknown_key", "no key with this kid")
    return key


def _keep(keys: KeySet | Key, encoded_header: str, header: Mapping[str, Any], key: Key) -> None:
    # Headers with nested values are not kept: one caller could change what the next one sees.
    if len(encoded_header) > _MAX_KEPT_HEADER_BYTES or not all(type(value) is str for value in header.values()):
        return
    if len(keys.verified_headers) >= _MAX_KEPT_HEADERS:
        keys.verified_headers.clear()
    keys.verified_headers[encoded_header] = (header, key)
