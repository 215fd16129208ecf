"""Taking tokens back: at the revocation endpoint (RFC 7009), and whatever else ends grants."""

from mintmark.authority import access, derivation
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Client
from mintmark.authority.ports import GrantSelector
from mintmark.jose.jwt import MAX_LEEWAY
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.revocations import Revocation


async def revoke(authority: Authority, client: Client, token: str) -> None:
    """Revoke ``token`` of an authenticated client.

    A refresh token of any generation ends its grant, and with it the access tokens (§2.1). An access token is revoked
    alone. Unknown, expired and already revoked tokens are fine (§2.2). ``token_type_hint`` is not needed.

    Raises:
        OAuthError: ``invalid_request`` if the token is another client's; it stays as it was (§2.1).
    """
    presented = derivation.parse(token, "refresh")
    if presented is None:
        await _revoke_access_token(authority, client, token)
        return
    grant = await authority.store.grants.get(presented.grant_id)
    if grant is None or not authority.keyring.secrets.is_genuine(presented, grant):
        return
    if grant.client_id != client.client_id:
        raise _foreign()
    await end_grants(authority, GrantSelector(id=grant.id), reason="revoked")


async def _revoke_access_token(authority: Authority, client: Client, token: str) -> None:
    now = authority.clock.now()
    try:
        # A clock other than ours may still, or already, accept the token.
        found = access.verify(authority, token, now, leeway=MAX_LEEWAY)
    except OAuthError:
        return
    if found.claims["client_id"] != client.client_id:
        raise _foreign()
    await authority.store.revocations.add(
        Revocation(kind="jti", value=found.claims["jti"], expires_at=found.claims["exp"]),
        AuditEvent(
            at=now,
            event="access_token.revoked",
            client_id=client.client_id,
            subject=found.claims["sub"],
            gid=found.claims.get("gid"),
            detail={"jti": found.claims["jti"]},
        ),
    )
    await authority.denylist.pull(authority.store)


async def end_grants(authority: Authority, selector: GrantSelector, *, reason: str) -> int:
    """End the selected grants and revoke their access tokens; return how many ended."""
    now = authority.clock.now()
    gid = None
    if selector.id is not None:
        grant = await authority.store.grants.get(selector.id)
        gid = None if grant is None else grant.gid
    audit = AuditEvent(
        at=now,
        event="grants.ended",
        client_id=selector.client_id,
        subject=selector.subject,
        gid=gid,
        detail={"reason": reason},
    )
    until = now + authority.policy.longest_access_token_lifetime
    ended = await authority.store.grants.end(selector, reason=reason, at=now, revoke_until=until, audit=audit)
    await authority.denylist.pull(authority.store)
    return ended


def _foreign() -> OAuthError:
    return OAuthError("invalid_request", "The token was not issued to this client", detail="token of another client")
