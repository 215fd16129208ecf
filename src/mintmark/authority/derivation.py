"""Codes and refresh tokens: derived from the grant, never stored (ADR 0002).

    mmr_ base64url( version:1 ‖ grant id:16 ‖ generation:4 ‖ HMAC-SHA-256(secret, purpose ‖ id ‖ generation ‖ salt):32 )

Any generation of a grant can be checked and made again, so a genuine old token is told from garbage for ever, and a
client that lost the response gets the same bytes. 256 bits of MAC are far beyond RFC 6749 §10.10's 2^-128.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mintmark.authority.model import Grant
from mintmark.jose import base64url
from mintmark.jose.errors import JoseError
from mintmark.oauth.discreet import Discreet

Purpose = Literal["code", "refresh"]

PREFIXES: Final[dict[Purpose, str]] = {"code": "mmc_", "refresh": "mmr_"}
"""Secret scanners find tokens by these."""

GRANT_ID_BYTES: Final = 16
SALT_BYTES: Final = 16
SECRET_BYTES: Final = 32
MAX_GENERATION: Final = 2**32 - 1
_MAC_BYTES: Final = 32
_TOKEN_BYTES: Final = 1 + GRANT_ID_BYTES + 4 + _MAC_BYTES
_TOKEN_CHARS: Final = 4 + (_TOKEN_BYTES * 8 + 5) // 6


class Presented(Discreet, frozen=True):
    """A code or refresh token as somebody presented it: well formed, not yet known to be ours."""

    purpose: Purpose
    version: int
    grant_id: bytes
    generation: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Secrets:
    """The versions of the server secret; new tokens are made with the highest."""

    by_version: Mapping[int, bytes] = field(repr=False)

    def derive(self, purpose: Purpose, grant: Grant, generation: int) -> str:
        """Return the token of ``grant`` at ``generation``: the same bytes each time, while the secret's version lives."""
        version = max(self.by_version)
        mac = _mac(self.by_version[version], purpose, grant, generation)
        body = bytes([version]) + grant.id + generation.to_bytes(4) + mac
        return PREFIXES[purpose] + base64url.encode(body)

    def is_genuine(self, presented: Presented, grant: Grant) -> bool:
        """Tell, in constant time, whether ``presented`` is a token that this authority derived from ``grant``."""
        secret = self.by_version.get(presented.version)
        if secret is None or presented.grant_id != grant.id:
            return False
        return hmac.compare_digest(presented.mac, _mac(secret, presented.purpose, grant, presented.generation))


def parse(token: str, purpose: Purpose) -> Presented | None:
    """Read a token; ``None`` if it cannot be one of ours."""
    prefix = PREFIXES[purpose]
    if len(token) != _TOKEN_CHARS or not token.startswith(prefix):
        return None
    try:
        body = base64url.decode(token[len(prefix) :])
    except JoseError:
        return None
    if len(body) != _TOKEN_BYTES:
        return None
    return Presented(purpose, body[0], body[1:17], int.from_bytes(body[17:21]), body[21:])


def _mac(secret: bytes, purpose: Purpose, grant: Grant, generation: int) -> bytes:
    message = purpose.encode() + b"\0" + grant.id + generation.to_bytes(4) + grant.salt
    return hmac.digest(secret, message, hashlib.sha256)
