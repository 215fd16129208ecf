"""Introspection (RFC 7662): is this token good, for this caller, right now?

One answer for unknown, expired, revoked, malformed and not for this caller: ``{"active": false}`` (§2.2, §4).
"""

from typing import Any, Final

from mintmark.authority import access, derivation
from mintmark.authority.core import Authority
from mintmark.authority.model import Client
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.scope import format_scope

INACTIVE: Final[dict[str, Any]] = {"active": False}


async def introspect(authority: Authority, caller: Client, token: str) -> dict[str, Any]:
    """Answer an authenticated ``caller``.

    It may see access tokens meant for a resource it serves and tokens that were issued to itself. The caller's
    ``token_type_hint`` is not needed: the two kinds of token look different (RFC 7662 §2.1).
    """
    presented = derivation.parse(token, "refresh")
    if presented is None:
        return _access_token(authority, caller, token)
    now = authority.clock.now()
    grant = await authority.store.grants.get(presented.grant_id)
    if (
        grant is None
        or not authority.keyring.secrets.is_genuine(presented, grant)
        or grant.client_id != caller.client_id
        or grant.ended_at is not None
        or authority.denylist.has_ended(grant.gid)
        or grant.generation != presented.generation
        or now >= min(grant.idle_expires_at, grant.expires_at)
    ):
        return INACTIVE
    return {
        "active": True,
        "iss": authority.policy.issuer,
        "sub": grant.subject,
        "client_id": grant.client_id,
        "scope": format_scope(grant.authorization.scope),
        "exp": min(grant.idle_expires_at, grant.expires_at),
        "iat": grant.advanced_at,
    }


def _access_token(authority: Authority, caller: Client, token: str) -> dict[str, Any]:
    try:
        found = access.verify(authority, token, authority.clock.now())
    except OAuthError:
        return INACTIVE
    is_served = not set(caller.serves).isdisjoint(found.audience)
    if not is_served and found.claims["client_id"] != caller.client_id:
        return INACTIVE
    return {"active": True, "token_type": "Bearer", **found.claims}
