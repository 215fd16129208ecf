"""Signatures already verified, for tokens that are asked about again and again."""

from collections import OrderedDict

from mintmark.jose import jws
from mintmark.jose.jwk import KeySet


class SeenTokens:
    """Tokens whose signature held lately, so that asking again about one costs no public-key operation.

    Bounded; the longest unasked goes first. Only the signature is remembered: whether its key is still published, its
    times and whether it was revoked are looked at each time (RFC 7662 §4).
    """

    def __init__(self, size: int = 2048) -> None:
        self._size = size
        self._seen: OrderedDict[str, jws.Verified] = OrderedDict()

    def verify(self, token: str, keys: KeySet) -> jws.Verified:
        """Verify the signature of ``token``, or remember that it held under a key that is still in ``keys``.

        Raises:
            JoseError: See ``jws.verify``.
        """
        known = self._seen.get(token)
        if known is not None and keys.get(known.key.kid) is known.key:
            self._seen.move_to_end(token)
            return known
        verified = self._seen[token] = jws.verify(token, keys)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return verified
