"""Access tokens presented to the authority itself: at introspection, userinfo and revocation."""

from collections.abc import Mapping
from typing import Any

from mintmark.authority.core import Authority
from mintmark.authority.issuing import ACCESS_TOKEN_TYPE
from mintmark.jose.errors import JoseError
from mintmark.oauth.discreet import Discreet
from mintmark.oauth.errors import OAuthError, invalid_token


class Access(Discreet, frozen=True):
    """A valid access token: signed by us, of the right type, alive and not revoked."""

    claims: Mapping[str, Any]

    @property
    def audience(self) -> tuple[str, ...]:
        """The resources it is for."""
        aud = self.claims["aud"]
        return (aud,) if isinstance(aud, str) else tuple(aud)

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes it carries."""
        return tuple(self.claims["scope"].split())


def verify(authority: Authority, token: str, now: int, *, leeway: int = 0) -> Access:
    """Verify an access token of ours, revocation included.

    ``leeway`` is the clock difference to forgive at ``exp`` and ``nbf``, seconds.

    Raises:
        OAuthError: ``invalid_token``, with the reason in the log only.
    """
    try:
        keys, issuer = authority.keyring.verification_keys(now), authority.policy.issuer
        seen = authority.seen.verify(token, keys, typ=ACCESS_TOKEN_TYPE, issuer=issuer, now=now, leeway=leeway)
    except JoseError as error:
        raise invalid_token(error.code) from error
    if authority.denylist.revokes(seen.claims, seen.key.kid):
        raise invalid_token("revoked")
    return Access(seen.claims)


async def verify_for_userinfo(authority: Authority, token: str) -> Access:
    """Verify a token presented to the authority as a resource (OIDC Core §5.3).

    Raises:
        OAuthError: ``invalid_token`` unless it is for us, ``insufficient_scope`` without ``openid``.
    """
    access = verify(authority, token, authority.clock.now())
    if authority.policy.issuer not in access.audience or "gid" not in access.claims:
        raise invalid_token("not meant for userinfo")
    if "openid" not in access.scope:
        raise OAuthError("insufficient_scope", "The access token needs the scope openid")
    return access
