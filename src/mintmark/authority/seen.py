"""Access tokens already verified, since the same ones are asked about again and again."""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mintmark.jose import jws, jwt
from mintmark.jose.jwk import Key, KeySet
from mintmark.oauth.discreet import Discreet

_MAX_CHARS: Final = 2048


class SeenToken(Discreet, frozen=True):
    """A token that was good when it was looked at: what does not change of it."""

    claims: Mapping[str, Any]
    key: Key


class SeenTokens:
    """Tokens that were good lately, so that asking again about one costs no public-key operation.

    Bounded; the longest unasked goes first, and long tokens are not remembered: what 16 kB say may take 100. What may
    change is looked at each time: whether the key is still published, the times; and, by the caller, whether it was
    revoked (RFC 7662 §4).

    Args:
        size: How many.
    """

    def __init__(self, size: int = 2048) -> None:
        self._size = size
        self._seen: OrderedDict[str, SeenToken] = OrderedDict()

    def verify(self, token: str, keys: KeySet, *, typ: str, issuer: str, now: int, leeway: int = 0) -> SeenToken:
        """Verify ``token``, or remember that it was good and look whether its time and its key still are.

        The type must be the same in every call.

        Raises:
            JoseError: See ``jwt.decode``.
        """
        known = self._seen.get(token)
        if known is not None and keys.get(known.key.kid) is known.key and known.claims["iss"] == issuer:
            jwt.check_times(known.claims, now, leeway)
            self._seen.move_to_end(token)
            return known
        verified = jws.verify(token, keys)
        claims = jwt.judge(verified, typ=typ, issuer=issuer, audience=None, now=now, leeway=leeway)
        # Read only: whoever asks next is told the same.
        frozen = {name: tuple(value) if type(value) is list else value for name, value in claims.items()}
        seen = SeenToken(MappingProxyType(frozen), verified.key)
        if len(token) <= _MAX_CHARS:
            self._seen[token] = seen
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)
        return seen
