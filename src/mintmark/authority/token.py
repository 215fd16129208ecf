"""The token endpoint's use cases: load, decide, sign, commit, answer (ADR 0005, RFC 6749 §3.2).

Rule: nothing is written before the commit, and nothing leaves before it succeeded. A lost race is decided again on the
row as it now stands.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, assert_never

from mintmark.authority import derivation, issuing
from mintmark.authority.core import Authority
from mintmark.authority.decisions import Decision, EndGrant, Proceed, Refuse
from mintmark.authority.derivation import Purpose
from mintmark.authority.grants import authorization_code, client_credentials, refresh_token
from mintmark.authority.issuing import AccessToken
from mintmark.authority.model import AuditEvent, Client, Grant, GrantType, User
from mintmark.authority.ports import Advance, GrantSelector
from mintmark.authority.targeting import Target, narrow
from mintmark.oauth.discreet import Discreet
from mintmark.oauth.errors import OAuthError, invalid_grant, unavailable

_ATTEMPTS: Final = 5


class CodeRequest(Discreet, frozen=True, kw_only=True):
    """``grant_type=authorization_code``; ``resources`` may narrow the audience (RFC 8707 §2.2)."""

    code: str
    redirect_uri: str | None
    code_verifier: str | None
    resources: tuple[str, ...] = ()


class RefreshRequest(Discreet, frozen=True, kw_only=True):
    """``grant_type=refresh_token``."""

    refresh_token: str
    scope: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


class ClientCredentialsRequest(Discreet, frozen=True, kw_only=True):
    """``grant_type=client_credentials``."""

    scope: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


TokenRequest = CodeRequest | RefreshRequest | ClientCredentialsRequest


class TokenResponse(Discreet, frozen=True, kw_only=True):
    """A successful answer (RFC 6749 §5.1). ``scope`` is what was granted; ``expires_in`` is in seconds."""

    access_token: str
    expires_in: int
    scope: tuple[str, ...]
    refresh_token: str | None = None
    id_token: str | None = None


IsAwaited = Callable[[], Awaitable[bool]]
"""Whether somebody still waits for the answer."""


async def _for_ever() -> bool:
    return True


async def token(
    authority: Authority, client: Client, request: TokenRequest, *, is_awaited: IsAwaited = _for_ever
) -> TokenResponse:
    """Answer a token request of an authenticated client.

    A node that was stopped, or cut off from its store, finds requests whose clients have long asked another node, and
    gone on with what that one gave them. They look like reuse and are none: nothing is ended for the sake of a request
    that nobody waits for. Who presents a stolen token so gets nothing by it.

    Raises:
        OAuthError: With the code that RFC 6749 §5.2, RFC 8707 §2 or invariant I4 asks for.
    """
    match request:
        case CodeRequest():
            _may_use(client, "authorization_code")
            return await _redeem(authority, client, request)
        case RefreshRequest():
            _may_use(client, "refresh_token")
            return await _refresh(authority, client, request, is_awaited)
        case ClientCredentialsRequest():
            _may_use(client, "client_credentials")
            return await _client_credentials(authority, client, request)
        case _:
            assert_never(request)


def _may_use(client: Client, grant_type: GrantType) -> None:
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", "This client may not use this grant type")


async def _client_credentials(authority: Authority, client: Client, request: ClientCredentialsRequest) -> TokenResponse:
    now = authority.clock.now()
    landscape = await authority.landscape(client, client.roles)
    target = client_credentials.decide(client, landscape, scope=request.scope, resources=request.resources)
    access = await issuing.access_token(
        authority, client=client, subject=client.client_id, target=target, landscape=landscape, now=now
    )
    return TokenResponse(access_token=access.value, expires_in=access.expires_at - now, scope=access.scope)


async def _redeem(authority: Authority, client: Client, request: CodeRequest) -> TokenResponse:
    def decide(grant: Grant, generation: int, now: int) -> Decision:
        return authorization_code.decide(
            grant,
            generation,
            client,
            redirect_uri=request.redirect_uri,
            code_verifier=request.code_verifier,
            now=now,
        )

    return await _from_grant(authority, client, "code", request.code, decide, (), request.resources)


async def _refresh(
    authority: Authority, client: Client, request: RefreshRequest, is_awaited: IsAwaited
) -> TokenResponse:
    grace = client.lifetimes(authority.policy).refresh_grace

    def decide(grant: Grant, generation: int, now: int) -> Decision:
        return refresh_token.decide(grant, generation, client, grace=grace, now=now)

    return await _from_grant(
        authority, client, "refresh", request.refresh_token, decide, request.scope, request.resources, is_awaited
    )


async def _from_grant(
    authority: Authority,
    client: Client,
    purpose: Purpose,
    presented_token: str,
    decide: Callable[[Grant, int, int], Decision],
    scope: tuple[str, ...],
    resources: tuple[str, ...],
    is_awaited: IsAwaited = _for_ever,
) -> TokenResponse:
    """Take a grant one step: the same act for a code and for a refresh token (ADR 0001)."""
    now = authority.clock.now()
    presented = derivation.parse(presented_token, purpose)
    misfits = authority.meter.misfits
    if presented is None:
        misfits["garbage"] += 1
        raise invalid_grant("not a token of ours")
    for attempt in range(_ATTEMPTS):
        grant = await authority.store.grants.get(presented.grant_id)
        if grant is None or not authority.keyring.secrets.is_genuine(presented, grant):
            misfits["garbage"] += 1
            raise invalid_grant("no such grant, or a forged token")
        decision = decide(grant, presented.generation, now)
        match decision:
            case Refuse():
                if grant.client_id != client.client_id:
                    misfits["foreign_client"] += 1
                raise invalid_grant(decision.detail)
            case EndGrant():
                await _end(authority, grant, decision, is_awaited, now)
                misfits["code" if decision.reason == "code_reuse" else "stale"] += 1
                raise invalid_grant(decision.reason)
            case Proceed():
                response = await _proceed(authority, client, grant, decision, scope, resources, now)
                if response is not None:
                    authority.meter.verdicts[decision.verdict] += 1
                    if decision.verdict == "replayed":
                        misfits["race" if attempt else "lost_response"] += 1
                    return response
            case _:
                assert_never(decision)
    raise unavailable(f"lost {_ATTEMPTS} races for grant {presented.grant_id.hex()}")


async def _end(authority: Authority, grant: Grant, decision: EndGrant, is_awaited: IsAwaited, now: int) -> None:
    if not await is_awaited():
        raise unavailable("nobody waits for the answer any more")
    audit = AuditEvent(
        at=now, event=f"grant.{decision.reason}", client_id=grant.client_id, subject=grant.subject, gid=grant.gid
    )
    until = now + authority.policy.longest_access_token_lifetime
    await authority.store.grants.end(
        GrantSelector(id=grant.id), reason=decision.reason, at=now, revoke_until=until, audit=audit
    )
    await authority.denylist.pull(authority.store)


async def _proceed(
    authority: Authority,
    client: Client,
    grant: Grant,
    decision: Proceed,
    scope: tuple[str, ...],
    resources: tuple[str, ...],
    now: int,
) -> TokenResponse | None:
    """Sign, then commit; ``None`` if the row moved on in between."""
    if authority.denylist.has_ended(grant.gid):
        # The row went back in time, and nobody has ended the grant again yet (invariant I11).
        raise invalid_grant("revoked before the store went back in time")
    user = await authority.store.users.get(grant.subject)
    if user is None or user.disabled_at is not None:
        raise invalid_grant("the user is gone or disabled")
    landscape = await authority.landscape(client, user.roles)
    granted = Target(grant.authorization.scope, grant.authorization.resources)
    target = narrow(granted, scope, resources, client, landscape)
    access = await issuing.access_token(
        authority,
        client=client,
        subject=user.subject,
        target=target,
        landscape=landscape,
        now=now,
        latest_expiry=grant.expires_at,
        gid=grant.gid,
        authorization=grant.authorization,
    )
    id_token = await _id_token(authority, client, user, grant, target, access, now)
    if not await authority.store.grants.advance(_step(authority, client, grant, decision, access, now)):
        return None
    has_refresh = "refresh_token" in client.grant_types
    return TokenResponse(
        access_token=access.value,
        expires_in=access.expires_at - now,
        scope=target.scope,
        refresh_token=authority.keyring.secrets.derive("refresh", grant, decision.generation) if has_refresh else None,
        id_token=id_token,
    )


async def _id_token(
    authority: Authority, client: Client, user: User, grant: Grant, target: Target, access: AccessToken, now: int
) -> str | None:
    if "openid" not in target.scope:
        return None
    # OIDC Core §12.2: the nonce belongs to the authorization request; it went with the code.
    nonce = grant.binding.nonce if grant.binding is not None else None
    return await issuing.id_token(
        authority,
        client=client,
        user=user,
        authorization=grant.authorization,
        sid=grant.sid,
        nonce=nonce,
        access=access,
        latest_expiry=grant.expires_at,
        now=now,
    )


def _step(
    authority: Authority, client: Client, grant: Grant, decision: Proceed, access: AccessToken, now: int
) -> Advance:
    idle_lifetime = client.lifetimes(authority.policy).refresh_idle_lifetime
    step = Advance(
        id=grant.id,
        expected=grant.generation,
        generation=decision.generation,
        at=now,
        idle_expires_at=min(now + idle_lifetime, grant.expires_at),
        access_expires_at=access.expires_at,
        is_replay=decision.verdict == "replayed",
    )
    if decision.verdict in {"replayed", "fast_forwarded"}:
        detail: dict[str, str | int] = {"from": grant.generation, "to": decision.generation}
        event = AuditEvent(
            at=now,
            event=f"grant.{decision.verdict}",
            client_id=grant.client_id,
            subject=grant.subject,
            gid=grant.gid,
            detail=detail,
        )
        return replace(step, audit=event)
    return step
