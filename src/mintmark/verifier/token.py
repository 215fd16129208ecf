"""A verified access token: what it says, and what a route may require of it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from mintmark.verifier.errors import RequirementNotMet
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock

Names = str | Iterable[str]
"""Space-separated names, or several of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
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
    claims: Mapping[str, Any] = field(repr=False)
    _clock: Clock = field(repr=False, compare=False)

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any], clock: Clock = SYSTEM_CLOCK) -> Self:
        """Make a token of verified claims: ``iss``, ``aud`` and ``exp`` are there and of the right type.

        A ``sub``, ``client_id``, ``scope`` or role of another type counts as absent, so it permits nothing.
        """
        aud = claims["aud"]
        scope = claims.get("scope")
        return cls(
            sub=_text(claims.get("sub")),
            client_id=_text(claims.get("client_id")),
            issuer=claims["iss"],
            audience=(aud,) if isinstance(aud, str) else tuple(aud),
            scopes=frozenset(scope.split(" ")) - {""} if isinstance(scope, str) else frozenset(),
            roles=_names(claims.get("roles")),
            permissions=_names(claims.get("permissions")),
            expires_at=claims["exp"],
            claims=MappingProxyType({name: _frozen(value) for name, value in claims.items()}),
            _clock=clock,
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
    return value if isinstance(value, str) else ""


def _names(value: object) -> frozenset[str]:
    if not isinstance(value, list | tuple):
        return frozenset()
    return frozenset(name for name in value if isinstance(name, str))


def _frozen(value: Any) -> Any:
    if type(value) is list:
        return tuple(map(_frozen, value))
    if type(value) is dict:
        return MappingProxyType({name: _frozen(member) for name, member in value.items()})
    return value
