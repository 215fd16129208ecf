"""Resources and the roles at them, as operators register them. Checked here, whoever registers."""

from dataclasses import replace
from typing import Final

from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Resource, Role
from mintmark.authority.people import UnacceptableError
from mintmark.oauth.scope import OPENID_SCOPES, is_scope_token

_SHOWN: Final = 5


async def create_resource(authority: Authority, resource: Resource) -> Resource:
    """Register a resource (RFC 8707 §2: an absolute URI without fragment).

    Raises:
        UnacceptableError: It is malformed, or one of its scopes belongs to OpenID Connect.
        AlreadyExistsError: It is registered already.
    """
    problems = [f"scope {s!r} is malformed" for s in (*resource.scopes, *resource.permissions) if not is_scope_token(s)]
    problems += [f"scope {s!r} belongs to OpenID Connect" for s in resource.scopes if s in OPENID_SCOPES]
    if ":" not in resource.resource or "#" in resource.resource or not is_scope_token(resource.resource):
        problems.append("a resource is named by an absolute URI without fragment, such as https://api.example.com")
    if resource.resource == authority.policy.issuer:
        problems.append("the authority itself is a resource already")
    if problems:
        raise UnacceptableError("; ".join(problems))
    registered = replace(resource, created_at=authority.clock.now())
    await authority.store.resources.add(registered)
    await _record(authority, "resource.created", resource=resource.resource)
    return registered


async def remove_resource(authority: Authority, resource: str) -> None:
    """Remove a resource.

    Raises:
        UnacceptableError: A client or a role still names it; says which.
    """
    names = [
        f"client {client.client_id}"
        for client in await authority.store.clients.all()
        if resource in (*client.resources, *client.serves, client.default_resource)
    ]
    names += [f"role {role.name}" for role in await authority.store.roles.all() if role.resource == resource]
    if names:
        raise UnacceptableError(f"{resource} is named by {_some(names)}; change or remove them first")
    await authority.store.resources.remove(resource)
    await _record(authority, "resource.removed", resource=resource)


async def create_role(authority: Authority, role: Role) -> Role:
    """Register a role at a resource.

    Raises:
        UnacceptableError: The resource does not exist or does not know one of the permissions.
        AlreadyExistsError: There is one with that name.
    """
    resource = await authority.store.resources.get(role.resource)
    if resource is None:
        raise UnacceptableError(f"there is no resource {role.resource!r}; `mintmark resource create` makes one")
    unknown = [p for p in role.permissions if p not in resource.permissions]
    if unknown:
        raise UnacceptableError(f"{role.resource} does not know the permissions {', '.join(unknown)}")
    if not is_scope_token(role.name):
        raise UnacceptableError("a role's name must be printable ASCII without spaces, quotes and backslashes")
    registered = replace(role, created_at=authority.clock.now())
    await authority.store.roles.add(registered)
    await _record(authority, "role.created", role=role.name, resource=role.resource)
    return registered


async def remove_role(authority: Authority, role: Role) -> None:
    """Remove a role.

    Raises:
        UnacceptableError: Somebody still holds it; says who.
    """
    holders = [user.email for user in await authority.store.users.all() if role.name in user.roles]
    holders += [client.client_id for client in await authority.store.clients.all() if role.name in client.roles]
    if holders:
        raise UnacceptableError(
            f"the role {role.name!r} is held by {_some(holders)}; take it from them first, with "
            "`mintmark user revoke-role` or `mintmark client update`"
        )
    await authority.store.roles.remove(role.name)
    await _record(authority, "role.removed", role=role.name, resource=role.resource)


async def _record(authority: Authority, event: str, **detail: str | int) -> None:
    await authority.store.audit.record(AuditEvent(at=authority.clock.now(), event=event, detail=detail))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
