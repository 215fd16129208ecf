"""``mintmark token``: look into one, take one back, issue one. A token is read from standard input, never from argv."""

from typing import Any

import click

from mintmark.authority import access, derivation, revocation
from mintmark.authority.core import Authority
from mintmark.authority.derivation import Purpose
from mintmark.authority.model import AuditEvent, Grant
from mintmark.authority.ports import GrantSelector
from mintmark.authority.token import ClientCredentialsRequest, token
from mintmark.cli.asking import STRAY, ask_token
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_client
from mintmark.cli.opening import on_authority
from mintmark.cli.output import emit_json, say, show
from mintmark.cli.parameters import example, json_option
from mintmark.cli.refusal import Refusal
from mintmark.jose import base64url, strict_json
from mintmark.jose.errors import JoseError
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.scope import parse_scope

_KINDS = {"at+jwt": "access_token", "JWT": "id_token"}
_DERIVED: tuple[tuple[Purpose, str], ...] = (("refresh", "refresh_token"), ("code", "code"))


@click.group("token", cls=Group)
def command() -> None:
    """Tokens: look into one, take one back, issue one.

    A token comes from standard input, so that no other process sees it.
    """


@command.command(
    "inspect",
    context_settings=STRAY,
    epilog=example("mintmark token inspect < token.txt", "xclip -o | mintmark token inspect --json"),
)
@json_option
@on_authority
async def inspect(authority: Authority, as_json: bool) -> None:
    """Show what is in a token, and whether the authority holds it active."""
    value = ask_token()
    found = await _derived(authority, value) or _signed(authority, value)
    if found is None:
        raise Refusal("that is not a token: neither a JWT nor a code or refresh token of mintmark")
    if as_json:
        emit_json(found)
    else:
        inner = {**found.pop("header", {}), **found.pop("claims", {}), **found.pop("grant", {})}
        show({**found, **inner}, as_json=False)


@command.command("revoke", context_settings=STRAY, epilog=example("mintmark token revoke < token.txt"))
@json_option
@on_authority
async def revoke(authority: Authority, as_json: bool) -> None:
    """Take a token back. A refresh token ends its whole grant, with the access tokens issued from it."""
    value = ask_token()
    for purpose, kind in _DERIVED:
        if (grant := await _grant_of(authority, value, purpose)) is not None:
            ended = await revocation.end_grants(authority, GrantSelector(id=grant.id), reason="revoked_by_operator")
            show({"kind": kind, "gid": grant.gid, "revoked": bool(ended)}, as_json=as_json)
            if not ended:
                say("The grant had ended already.")
            return
    try:
        claims = access.verify(authority, value, authority.clock.now()).claims
    except OAuthError as error:
        raise Refusal(
            f"there is nothing to revoke: this authority does not accept the token ({error.detail}). "
            "`mintmark token inspect` shows what it is."
        ) from error
    client = await find_client(authority, claims["client_id"])
    await revocation.revoke(authority, client, value)
    show({"kind": "access_token", "jti": claims["jti"], "revoked": True}, as_json=as_json)


@command.command("issue", epilog=example("mintmark token issue billing --scope orders:read | tr -d '\\n' | xclip"))
@click.option("--scope", default="", help="Scopes, separated by spaces.  [default: all it may have]")
@click.option("--resource", "resources", multiple=True, help="Audience. May repeat.")
@json_option
@click.argument("client_id")
@on_authority
async def issue(authority: Authority, client_id: str, scope: str, resources: tuple[str, ...], as_json: bool) -> None:
    """Issue an access token to a client, as client_credentials would: for debugging, and it is in the audit log."""
    client = await find_client(authority, client_id)
    if client.disabled_at is not None:
        raise Refusal(f"the client is disabled; `mintmark client enable {client_id}` lets it in again")
    request = ClientCredentialsRequest(scope=parse_scope(scope), resources=resources)
    response = await token(authority, client, request)
    audit = AuditEvent(at=authority.clock.now(), event="access_token.issued_by_operator", client_id=client_id)
    await authority.store.audit.record(audit)
    if not as_json:
        click.echo(response.access_token)
        say(f"It lives {response.expires_in} seconds and carries the scope {' '.join(response.scope)!r}.")
        return
    emit_json(
        {
            "access_token": response.access_token,
            "token_type": "Bearer",
            "expires_in": response.expires_in,
            "scope": " ".join(response.scope),
        }
    )


def _signed(authority: Authority, value: str) -> dict[str, Any] | None:
    """Return what a JWT says, whether or not it is ours."""
    parts = value.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (strict_json.loads_object(base64url.decode(part)) for part in parts[:2])
    except JoseError:
        return None
    reason = None
    try:
        access.verify(authority, value, authority.clock.now())
    except OAuthError as error:
        reason = error.detail
    kind = _KINDS.get(str(header.get("typ")), "jwt")
    if kind == "id_token":
        reason = "an ID token says who signed in; it opens nothing, so it is never active"
    return {"kind": kind, "active": reason is None, "reason": reason, "header": header, "claims": claims}


async def _derived(authority: Authority, value: str) -> dict[str, Any] | None:
    """Return what a code or refresh token stands for."""
    for purpose, kind in _DERIVED:
        if derivation.parse(value, purpose) is None:
            continue
        grant = await _grant_of(authority, value, purpose)
        if grant is None:
            return {"kind": kind, "active": False, "reason": "no grant of this authority, or not genuine"}
        presented = derivation.parse(value, purpose)
        assert presented is not None
        reason = _why_inactive(grant, presented.generation, authority.clock.now())
        return {
            "kind": kind,
            "active": reason is None,
            "reason": reason,
            "generation": presented.generation,
            "grant": _grant_view(grant),
        }
    return None


async def _grant_of(authority: Authority, value: str, purpose: Purpose) -> Grant | None:
    presented = derivation.parse(value, purpose)
    if presented is None:
        return None
    grant = await authority.store.grants.get(presented.grant_id)
    return grant if grant is not None and authority.keyring.secrets.is_genuine(presented, grant) else None


def _why_inactive(grant: Grant, generation: int, now: int) -> str | None:
    if grant.ended_at is not None:
        return f"the grant ended: {grant.end_reason}"
    if now >= grant.expires_at:
        return "the grant expired"
    if generation != grant.generation:
        return f"used already: the grant is at generation {grant.generation}"
    return "not used for too long" if now >= grant.idle_expires_at else None


def _grant_view(grant: Grant) -> dict[str, Any]:
    return {
        "gid": grant.gid,
        "client_id": grant.client_id,
        "sub": grant.subject,
        "scope": " ".join(grant.authorization.scope),
        "resources": list(grant.authorization.resources),
        "current_generation": grant.generation,
        "created_at": grant.created_at,
        "idle_expires_at": grant.idle_expires_at,
        "expires_at": grant.expires_at,
        "ended_at": grant.ended_at,
    }
