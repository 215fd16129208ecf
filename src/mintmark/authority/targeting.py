"""Which scope and which audience a request gets. Pure.

Rules:
1. Granted scope = requested ∩ what the client may have ∩ what the audience understands ∩ what the subject's roles carry
   (a scope that is also a permission of the resource needs a role, ADR 0019). Where several audiences understand a
   scope, all of them have to allow it, since each may look at the scope alone. Unknown scopes are left out and the
   answer says what was granted (RFC 6749 §3.3); ``invalid_scope`` if nothing is left of what was asked.
2. The audience is the ``resource`` asked for (RFC 8707 §2); else the one resource the scopes belong to; else the client's
   default; else the authority itself. Scopes of several resources and no ``resource``: ``invalid_scope`` (RFC 9068 §3).
3. The authority is a resource like any other: it understands the OpenID scopes. It joins the audience when ``openid`` is
   granted and no ``resource`` was named, so that userinfo works.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from mintmark.authority.model import Client, Resource, Role
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.scope import OPENID_SCOPES


class Target(msgspec.Struct, frozen=True):
    """What is granted: ``scope`` may span all of ``resources``; a single token carries what its audience understands."""

    scope: tuple[str, ...]
    resources: tuple[str, ...]


class Landscape(msgspec.Struct, frozen=True):
    """The resources a client may reach, by identifier, the authority itself among them, and the subject's roles."""

    issuer: str
    resources: Mapping[str, Resource]
    roles: Sequence[Role]

    def understands(self, resource: str, scope: str) -> bool:
        """Tell whether ``scope`` means anything at ``resource``."""
        return scope in self.resources[resource].scopes

    def may(self, audience: Iterable[str], scope: str) -> bool:
        """Tell whether the subject may have ``scope`` in a token for all of ``audience`` (rule 1)."""
        understanding = [resource for resource in audience if self.understands(resource, scope)]
        return bool(understanding) and all(self._allows(resource, scope) for resource in understanding)

    def _allows(self, resource: str, scope: str) -> bool:
        if scope not in self.resources[resource].permissions:
            return True
        return any(role.resource == resource and scope in role.permissions for role in self.roles)


@lru_cache(maxsize=8)
def authority_as_resource(issuer: str) -> Resource:
    """Return the authority in its role as a resource (rule 3)."""
    return Resource(resource=issuer, name="mintmark", scopes=OPENID_SCOPES)


def target(
    asked: tuple[str, ...], named: tuple[str, ...], client: Client, landscape: Landscape, *, with_openid: bool = True
) -> Target:
    """Decide scope and audience of a new grant, or of a token without one.

    Args:
        asked: Scopes asked for; empty asks for all the client may have at its audience.
        named: ``resource`` parameters.
        client: Who asks.
        landscape: What there is.
        with_openid: Whether a person signs in; without one the OpenID scopes mean nothing.

    Raises:
        OAuthError: ``invalid_target`` or ``invalid_scope``.
    """
    for resource in named:
        if resource not in landscape.resources:
            raise OAuthError("invalid_target", "The resource is unknown or not allowed for this client")
    allowed = tuple(s for s in client.scope if with_openid or s not in OPENID_SCOPES)
    wanted = tuple(s for s in asked if s in allowed) if asked else allowed
    resources = named or _audience_of(wanted, client, landscape, is_default=not asked)
    reachable = {*resources, landscape.issuer} if with_openid else set(resources)
    scope = tuple(s for s in wanted if landscape.may(reachable, s))
    if asked and not scope:
        raise OAuthError("invalid_scope", "None of the scopes asked for can be granted to this client here")
    if not named and "openid" in scope and landscape.issuer not in resources:
        resources = (*resources, landscape.issuer)
    return Target(scope, resources)


def narrow(
    granted: Target, asked: tuple[str, ...], named: tuple[str, ...], client: Client, landscape: Landscape
) -> Target:
    """Decide scope and audience of a token from an existing grant: never more than was granted (invariant I5).

    What the client or the subject may no longer have is left out.

    Raises:
        OAuthError: ``invalid_target`` or ``invalid_scope`` if more than the grant holds is asked (RFC 6749 §6).
    """
    grantable = {*granted.resources, *([landscape.issuer] if "openid" in granted.scope else [])}
    if not grantable.issuperset(named):
        raise OAuthError("invalid_target", "The resource is not part of the grant")
    if any(scope not in granted.scope for scope in asked):
        raise OAuthError("invalid_scope", "The scope exceeds what was granted")
    wanted = asked or granted.scope
    resources = tuple(r for r in (named or granted.resources) if r in landscape.resources)
    if not resources:
        raise OAuthError("invalid_target", "The resource is no longer available to this client")
    reachable = {*resources, landscape.issuer}
    scope = tuple(s for s in wanted if s in client.scope and landscape.may(reachable, s))
    return Target(scope, resources)


def scope_for(resources: Iterable[str], scope: tuple[str, ...], landscape: Landscape) -> tuple[str, ...]:
    """Return the part of ``scope`` that means something to the audience (RFC 9068 §2.2.3)."""
    audience = tuple(resources)
    return tuple(s for s in scope if landscape.may(audience, s))


def _audience_of(wanted: tuple[str, ...], client: Client, landscape: Landscape, *, is_default: bool) -> tuple[str, ...]:
    default = client.default_resource or landscape.issuer
    if default not in landscape.resources:
        default = landscape.issuer
    if is_default:
        return (default,)
    known = [
        s for s in wanted if s not in OPENID_SCOPES and any(landscape.understands(r, s) for r in landscape.resources)
    ]
    if all(landscape.understands(default, s) for s in known):
        return (default,)
    covering = [r for r in landscape.resources if all(landscape.understands(r, s) for s in known)]
    if len(covering) != 1:
        raise OAuthError(
            "invalid_scope", "The scopes belong to several resources; name one with the resource parameter"
        )
    return (covering[0],)
