"""Userinfo (OIDC Core §5.3, §5.4): what a person's scopes and the claims request let the application know."""

from typing import Any, Final

from mintmark.authority.access import verify_for_userinfo
from mintmark.authority.core import Authority
from mintmark.authority.issuing import user_claims
from mintmark.jose import base64url
from mintmark.oauth.errors import invalid_token

SCOPE_CLAIMS: Final = {"profile": ("name", "updated_at"), "email": ("email", "email_verified")}


async def userinfo(authority: Authority, token: str) -> dict[str, Any]:
    """Return the claims about the person that ``token`` speaks for; ``sub`` equals the ID token's.

    Raises:
        OAuthError: ``invalid_token`` or ``insufficient_scope``.
    """
    access = await verify_for_userinfo(authority, token)
    grant = await authority.store.grants.get(base64url.decode(access.claims["gid"]))
    user = await authority.store.users.get(access.claims["sub"])
    if grant is None or grant.ended_at is not None or user is None or user.disabled_at is not None:
        raise invalid_token("grant or user gone")
    names = {name for scope in access.scope for name in SCOPE_CLAIMS.get(scope, ())}
    names |= set(grant.authorization.claims.get("userinfo") or {})
    return {"sub": user.subject} | {name: value for name, value in user_claims(user).items() if name in names}
