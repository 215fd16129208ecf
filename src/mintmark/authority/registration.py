"""Clients, as operators register them. Checked here, whoever registers (CLI, console, API)."""

from dataclasses import replace
from typing import Final

from mintmark.authority.client_authentication import digest_of, new_secret
from mintmark.authority.core import Authority
from mintmark.authority.model import SUBJECT_PREFIX, AuditEvent, Client
from mintmark.authority.people import UnacceptableError, require_roles
from mintmark.authority.policy import problems_of
from mintmark.authority.ports import GrantSelector
from mintmark.authority.revocation import end_grants
from mintmark.oauth.redirect_uri import registration_problem
from mintmark.oauth.revocations import Revocation
from mintmark.oauth.scope import is_scope_token

SECRET_BYTES: Final = 32
_MAX_SECRETS: Final = 2
_MAX_NAME: Final = 200


def client_problems(client: Client, authority: Authority) -> list[str]:
    """Say everything that is wrong with ``client``; empty if it may be registered."""
    policy = authority.policy
    found = [
        f"{field} {uri!r}: {problem}"
        for field, uris in (
            ("redirect_uri", client.redirect_uris),
            ("post_logout_redirect_uri", client.post_logout_redirect_uris),
        )
        for uri in uris
        if (problem := registration_problem(uri, client.application_type)) is not None
    ]
    if not is_scope_token(client.client_id) or len(client.client_id) > _MAX_NAME or ":" in client.client_id:
        found.append("client_id must be printable ASCII without spaces, quotes, backslashes and colons")
    if client.client_id.startswith(SUBJECT_PREFIX):
        # RFC 9068 §5: a client must not be able to look like a user.
        found.append(f"client_id must not begin with {SUBJECT_PREFIX}: users' subjects do")
    if not client.name or len(client.name) > _MAX_NAME:
        found.append(f"name must have 1 to {_MAX_NAME} characters")
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        found.append("a client that signs people in needs at least one redirect_uri")
    if "refresh_token" in client.grant_types and "authorization_code" not in client.grant_types:
        found.append("refresh_token needs authorization_code: nothing else issues refresh tokens")
    if not client.grant_types:
        found.append("a client needs at least one grant type")
    found += [f"scope {scope!r} is malformed" for scope in client.scope if not is_scope_token(scope)]
    found += _confidentiality_problems(client)
    found += problems_of(client.lifetimes(policy))
    algorithms = {
        client.id_token_signed_response_alg,
        client.access_token_signed_response_alg or policy.signing_algorithms[0],
    }
    found += [f"no {alg} key is kept here (signing_algorithms)" for alg in algorithms - set(policy.signing_algorithms)]
    return found


def _confidentiality_problems(client: Client) -> list[str]:
    if client.is_confidential:
        return []
    found = []
    if "client_credentials" in client.grant_types:
        found.append("client_credentials needs a confidential client (RFC 6749 §4.4)")
    if not client.require_pkce:
        found.append("PKCE cannot be switched off for a public client")
    if client.skip_consent:
        found.append("people are always asked about a public client: anybody can pretend to be it (ASVS 10.7.1)")
    if client.refresh_rotation == "stable":
        found.append("refresh tokens of a public client must rotate (RFC 9700 §2.2.2)")
    if client.refresh_grace is not None and client.refresh_grace > 60:
        found.append("refresh_grace of a public client may be 60 seconds at most")
    if client.serves:
        found.append("introspection needs a confidential client")
    return found


async def create_client(authority: Authority, client: Client) -> tuple[Client, str | None]:
    """Register ``client``; a confidential one gets a secret, shown this once.

    Raises:
        UnacceptableError: All that is wrong, in one text.
        AlreadyExistsError: The ``client_id`` is taken.
    """
    await _require_known(authority, client)
    now = authority.clock.now()
    secret = new_secret(authority.randomness.bytes(SECRET_BYTES)) if client.is_confidential else None
    digests = () if secret is None else (digest_of(secret),)
    registered = replace(client, secret_digests=digests, created_at=now)
    await authority.store.clients.add(registered)
    await _record(authority, "client.created", client)
    return registered, secret


async def update_client(authority: Authority, old: Client, new: Client) -> None:
    """Change a registration.

    Raises:
        UnacceptableError: All that is wrong, or somebody changed it at the same moment.
    """
    await _require_known(authority, new)
    if not await authority.store.clients.replace(old, new):
        raise UnacceptableError("the client was changed at the same moment; look at it and try again")
    await _record(authority, "client.updated", new)


async def _require_known(authority: Authority, client: Client) -> None:
    problems = client_problems(client, authority)
    names = {*client.resources, *client.serves} | ({client.default_resource} - {None})
    for name in sorted(str(name) for name in names):
        if name != authority.policy.issuer and await authority.store.resources.get(name) is None:
            problems.append(f"there is no resource {name!r}; `mintmark resource create` makes one")
    if client.default_resource is not None and client.default_resource not in client.resources:
        problems.append("default_resource must be one of the client's resources")
    if problems:
        raise UnacceptableError("; ".join(problems))
    await require_roles(authority, client.roles)


async def rotate_secret(authority: Authority, client: Client) -> str:
    """Give ``client`` a new secret; the one before it still works until the next change.

    Raises:
        UnacceptableError: It is public, or somebody changed it at the same moment.
    """
    if not client.is_confidential:
        raise UnacceptableError("a public client has no secret")
    secret = new_secret(authority.randomness.bytes(SECRET_BYTES))
    digests = (digest_of(secret), *client.secret_digests)[:_MAX_SECRETS]
    if not await authority.store.clients.replace(client, replace(client, secret_digests=digests)):
        raise UnacceptableError("the client was changed at the same moment; look at it and try again")
    await _record(authority, "client.secret_rotated", client)
    return secret


async def set_client_disabled(authority: Authority, client: Client, *, is_disabled: bool) -> Client:
    """Disable a client, at once and everywhere: its grants end and its tokens are revoked. Or enable it again.

    Raises:
        UnacceptableError: Somebody changed it at the same moment.
    """
    now = authority.clock.now()
    changed = replace(client, disabled_at=now if is_disabled else None)
    if not await authority.store.clients.replace(client, changed):
        raise UnacceptableError("the client was changed at the same moment; look at it and try again")
    await _record(authority, "client.disabled" if is_disabled else "client.enabled", client)
    if is_disabled:
        await _take_back(authority, client, "client_disabled")
    return changed


async def remove_client(authority: Authority, client: Client) -> None:
    """Remove a client; its grants end and its tokens are revoked.

    It is disabled first: if this process dies in between, nothing of it is usable and the removal can be repeated.

    Raises:
        UnacceptableError: Somebody changed it at the same moment.
    """
    await set_client_disabled(authority, client, is_disabled=True)
    await authority.store.clients.remove(client.client_id)
    await _record(authority, "client.removed", client)


async def _take_back(authority: Authority, client: Client, reason: str) -> None:
    now = authority.clock.now()
    revocation = Revocation(
        kind="client_id",
        value=client.client_id,
        before=now,
        expires_at=now + authority.policy.longest_token_lifetime,  # its own lifetime may have been longer once
    )
    audit = AuditEvent(at=now, event="client.tokens_revoked", client_id=client.client_id, detail={"reason": reason})
    await authority.store.revocations.add(revocation, audit)
    await end_grants(authority, GrantSelector(client_id=client.client_id), reason=reason)


async def _record(authority: Authority, event: str, client: Client) -> None:
    await authority.store.audit.record(AuditEvent(at=authority.clock.now(), event=event, client_id=client.client_id))
