"""Proof Key for Code Exchange, method S256 only (RFC 7636; ``plain`` is refused, RFC 9700 §2.1.1)."""

import base64
import hashlib
import hmac
import re
from typing import Final

# RFC 7636 §4.1: 43 to 128 unreserved characters.
_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}", re.ASCII)
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9\-_]{43}", re.ASCII)


def is_challenge(text: str) -> bool:
    """Tell whether ``text`` can be an S256 challenge: the unpadded base64url of 32 bytes."""
    return _CHALLENGE.fullmatch(text) is not None


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of ``verifier`` (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


def verifies(verifier: str, challenge: str) -> bool:
    """Tell whether ``verifier`` is well formed and belongs to ``challenge`` (RFC 7636 §4.6), in constant time."""
    return _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(challenge_of(verifier), challenge)
