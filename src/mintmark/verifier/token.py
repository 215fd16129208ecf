"""A verified access token: what it says, and what a route may require of it."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec

from mintmark.verifier.errors import RequirementNotMet
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock

Names = str | Iterable[str]
"""Space-separated names, or several of them."""


# What JSON is made of has exactly these types; asking for subclasses as well would cost more than all the rest here.
_CONTAINERS: Final = frozenset({list, dict})
_NONE: Final[frozenset[str]] = frozenset()


class Token(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An access token that was verified. Immutable, so that it may be shared between threads and requests.

    Attributes:
        sub: Whom it speaks for: a person, or the client itself.
        client_id: The application it was issued to.
        issuer: Who issued it.
        audience: The resources it is for.
        scopes: What the application may do.
        roles: Roles the subject holds here.
        permissions: What these roles permit.
        expires_at: Unix time in seconds; it may still be accepted for the verifier's leeway.
        claims: Everything it says, read only.
    """

    sub: str
    client_id: str
    issuer: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    roles: frozenset[str]
    permissions: frozenset[str]
    expires_at: float
    claims: Mapping[str, Any]
    _clock: Clock

    def __repr__(self) -> str:
        return f"Token(sub={self.sub!r}, client_id={self.client_id!r}, issuer={self.issuer!r}, expires_at={self.expires_at})"

    @classmethod
    def from_claims(cls, claims: dict[str, Any], clock: Clock = SYSTEM_CLOCK) -> Self:
        """Make a token of verified claims: ``iss``, ``aud`` and ``exp`` are there and of the right type.

        The claims are taken over: the caller does not change them any more. A ``sub``, ``client_id``, ``scope`` or role of another type counts as absent, so it permits nothing.
        """
        aud = claims["aud"]
        scope = claims.get("scope")
        roles, permissions = _names(claims.get("roles")), _names(claims.get("permissions"))
        for name, value in claims.items():
            if type(value) in _CONTAINERS:
                claims[name] = _frozen(value)
        return cls(
            _text(claims.get("sub")),
            _text(claims.get("client_id")),
            claims["iss"],
            (aud,) if type(aud) is str else tuple(aud),
            frozenset(scope.split()) if type(scope) is str else _NONE,
            roles,
            permissions,
            claims["exp"],
            MappingProxyType(claims),
            clock,
        )

    def require(
        self,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
    ) -> Self:
        """Return this token if it has all that is named, and one of the ``acr``.

        Args:
            scope: Scopes that are all needed.
            role: Roles that are all needed.
            permission: Permissions that are all needed.
            max_age: The person must have signed in at most that many seconds ago (RFC 9470 §4).
            acr: One of these authentication classes is needed (RFC 9470 §4).

        Raises:
            RequirementNotMet: With what would do.
        """
        scopes = _split(scope)
        if not self.scopes.issuperset(scopes):
            raise RequirementNotMet("scope", scope=" ".join(scopes))
        if not self.roles.issuperset(_split(role)):
            raise RequirementNotMet("role")
        if not self.permissions.issuperset(_split(permission)):
            raise RequirementNotMet("permission")
        classes = _split(acr)
        if (classes and self.claims.get("acr") not in classes) or not self._is_recent(max_age):
            raise RequirementNotMet("sign-in", acr_values=" ".join(classes) or None, max_age=max_age)
        return self

    def _is_recent(self, max_age: int | None) -> bool:
        if max_age is None:
            return True
        auth_time = self.claims.get("auth_time")
        if isinstance(auth_time, bool) or not isinstance(auth_time, int | float) or not math.isfinite(auth_time):
            return False
        return self._clock.now() - auth_time <= max_age


def _split(names: Names) -> tuple[str, ...]:
    return tuple(names.split()) if isinstance(names, str) else tuple(names)


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _names(value: object) -> frozenset[str]:
    if type(value) is not list:
        return _NONE
    return frozenset([name for name in value if type(name) is str])


def _frozen(value: Any) -> Any:
    """Return ``value``, as JSON has it, so that nobody can change it."""
    if type(value) is list:
        return tuple([_frozen(member) if type(member) in _CONTAINERS else member for member in value])
    return MappingProxyType(
        {name: _frozen(member) if type(member) in _CONTAINERS else member for name, member in value.items()}
    )
